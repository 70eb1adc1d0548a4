//! Certificate authorities and clients for tests.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use corten_raft::tls::Connector;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::settings::tls::Tls;
use crate::testing::within;

/// A certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub file: PathBuf,
    folder: PathBuf,
}

impl Ca {
    pub fn new(folder: &Path, name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Ca {
            issuer: Issuer::new(params, key),
            file,
            folder: folder.to_owned(),
        }
    }

    /// Settings with a certificate for 127.0.0.1, localhost and `name`, believing this CA.
    pub fn issue(&self, name: &str, serial: u8) -> Tls {
        let hosts = ["127.0.0.1", "localhost", name].map(str::to_owned);
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let at = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        put(&at("crt"), &cert.pem());
        put(&at("key"), &key.serialize_pem());
        Tls {
            cert: Some(at("crt")),
            key: Some(at("key")),
            trusted_ca: Some(self.file.clone()),
            ..Tls::default()
        }
    }

    /// A list of one certificate that is no longer believed.
    pub fn revoke(&self, serial: u8) -> PathBuf {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.folder.join("revoked.pem");
        put(&path, &params.signed_by(&self.issuer).unwrap().pem().unwrap());
        path
    }
}

/// Replaces a file as careful tools do.
pub fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// One request on a connection of its own: status and body, or why there is none.
pub async fn ask(tls: Option<&Tls>, method: Method, url: &str, body: &str) -> Result<(u16, String), String> {
    let tls = tls.and_then(|tls| super::client(tls).unwrap());
    let connector = Connector::new(std::time::Duration::from_secs(5), tls);
    let client: Client<Connector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let asked = async {
        let answer = client
            .request(request)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
    };
    within("an answer", asked).await
}

/// [`ask`] with GET.
pub async fn get(tls: Option<&Tls>, url: &str) -> Result<(u16, String), String> {
    ask(tls, Method::GET, url, "").await
}
