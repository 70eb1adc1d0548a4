//! TLS against a real etcd that asks for a certificate: what is said when it does not come about, and what need not be
//! verified.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{Server, check};

/// The server's certificates, ours, and one it does not know.
struct Files {
    ca: PathBuf,
    ours: [PathBuf; 2],
    foreign: [PathBuf; 2],
}

impl Files {
    fn make(dir: &Path) -> Files {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = dir.join("ca.pem");
        fs::write(&ca, params.self_signed(&key).expect("a certificate").pem()).expect("a file of ours");
        let issuer = Issuer::new(params, key);
        let [ours, foreign] = ["ours", "foreign"].map(|name| {
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
            let key = KeyPair::generate().expect("a key");
            let cert = match name {
                "ours" => params.signed_by(&key, &issuer),
                _ => params.self_signed(&key),
            };
            let at = |ending: &str| dir.join(format!("{name}.{ending}"));
            fs::write(at("crt"), cert.expect("a certificate").pem()).expect("a file of ours");
            fs::write(at("key"), key.serialize_pem()).expect("a file of ours");
            [at("crt"), at("key")]
        });
        Files { ca, ours, foreign }
    }
}

fn pair([cert, key]: &[PathBuf; 2]) -> String {
    format!("--cert {} --key {}", cert.display(), key.display())
}

pub fn look(etcd: &Path, etcdctl: &Path, dir: &Path) -> usize {
    let files = Files::make(dir);
    let shown = |path: &Path| path.display().to_string();
    let options = [
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", shown(&files.ca)),
        format!("--cert-file={}", shown(&files.ours[0])),
        format!("--key-file={}", shown(&files.ours[1])),
    ];
    let servers = Server::cluster(etcd, dir, 1, "https", &options);
    let server = &servers[0];
    let ca = format!("--cacert {}", shown(&files.ca));
    let (ours, foreign) = (pair(&files.ours), pair(&files.foreign));
    let at = |scheme: &str, rest: &str| {
        let line = format!("--endpoints {scheme}{} {rest}", server.client);
        server.run("3", etcdctl, &line, "")
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while at("https://", &format!("{ca} {ours} get a")).code != Some(0) {
        assert!(
            Instant::now() < deadline,
            "etcd does not answer over TLS within 60 s"
        );
    }
    let said = |what: &str, scheme: &str, rest: &str, words: &[&str]| {
        let run = at(scheme, rest);
        let is_said = words.iter().all(|word| run.stderr.contains(word));
        let otherwise = if is_said { String::new() } else { run.stderr };
        check(what, (run.code, otherwise), (Some(1), String::new()))
    };
    let https = "https://CLIENT: ";
    // Which alert that is depends on the Go it was built with.
    let required = [https, "alert", "it asks for --cert and --key"];
    said("no certificate", "https://", &format!("{ca} get a"), &required)
        + said(
            "no certificate, watch",
            "https://",
            &format!("{ca} watch a"),
            &required,
        )
        + said(
            "a foreign certificate",
            "https://",
            &format!("{ca} {foreign} get a"),
            &[https, "alert", "another --cert and --key"],
        )
        + said("http to TLS", "http://", "get a", &["http://CLIENT: ", "TLS"])
        + said(
            "a member alone",
            "https://",
            &format!("{ca} endpoint status"),
            &["alert", "it asks for --cert and --key"],
        )
        + said(
            "a foreign server",
            "https://",
            &format!("{ours} get a"),
            &[https, "UnknownIssuer"],
        )
        + check(
            "--insecure-skip-tls-verify",
            at("https://", &format!("{ours} --insecure-skip-tls-verify get a")).code,
            Some(0),
        )
        + check(
            "--insecure-transport=false",
            at(
                "",
                &format!("{ours} --insecure-skip-tls-verify --insecure-transport=false get a"),
            )
            .code,
            Some(0),
        )
        + said(
            "TLS without being asked for",
            "",
            "--insecure-transport=false get a",
            &["CLIENT: ", "UnknownIssuer"],
        )
}
