//! The members as a v3 client sees them: one connection to the first that can be reached, a token if we are somebody, and
//! calls by the names of the API.

use std::time::Duration;

use corten_etcd_api::etcdserverpb as pb;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::fault::{BAD_CONNECTION, ERROR, Failure};
use super::settings::Settings;
use crate::etcdctl::settings::Endpoint;
use crate::http;

/// Answers may be as large as the server makes them.
const UNLIMITED: usize = usize::MAX;

/// An open connection.
pub(super) struct Etcd {
    channel: Channel,
    token: Option<AsciiMetadataValue>,
    timeout: Duration,
}

impl Etcd {
    /// Connects to the first member that can be reached, and logs in there.
    pub(super) async fn connect(settings: &Settings) -> Result<Etcd, Failure> {
        let mut faults = Vec::new();
        for endpoint in &settings.endpoints {
            match Etcd::connect_to(settings, endpoint).await {
                Ok(etcd) => return Ok(etcd),
                Err(Refused::Unreachable(why)) => faults.push(format!("{}: {why}", endpoint.url)),
                Err(Refused::Login(status)) => {
                    return Err(Failure::new(BAD_CONNECTION, words(&status)));
                }
            }
        }
        let text = format!("context deadline exceeded\n{}", faults.join("\n"));
        Err(Failure::new(ERROR, text))
    }

    /// Connects to one member, and logs in.
    pub(super) async fn connect_to(settings: &Settings, endpoint: &Endpoint) -> Result<Etcd, Refused> {
        let unreachable = |error: &dyn std::fmt::Display| Refused::Unreachable(error.to_string());
        let target = endpoint.target.clone();
        let tls = settings.tls.clone();
        // The connector knows where to; what stands here only has to be a URL.
        let authority = format!("http://{}", target.authority());
        let connector = tower::service_fn(move |_: Uri| {
            let (target, tls) = (target.clone(), tls.clone());
            async move { http::dial(&target, Some(&tls)).await.map(TokioIo::new) }
        });
        let server = Channel::from_shared(authority).map_err(|error| unreachable(&error))?;
        let dialling = server.connect_with_connector(connector);
        let channel = match tokio::time::timeout(settings.dial_timeout, dialling).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(Refused::Unreachable(causes(&error))),
            Err(_) => return Err(unreachable(&"no connection within --dial-timeout")),
        };
        let mut etcd = Etcd {
            channel,
            token: None,
            timeout: settings.command_timeout,
        };
        if let Some((name, password)) = &settings.user {
            let request = pb::AuthenticateRequest {
                name: name.clone(),
                password: password.clone(),
            };
            let answer: Result<pb::AuthenticateResponse, Status> =
                etcd.ask("/etcdserverpb.Auth/Authenticate", request).await;
            match answer {
                Ok(answer) => etcd.token = AsciiMetadataValue::try_from(answer.token).ok(),
                // Where users do not matter, a name does no harm.
                Err(status) if status.message().contains("authentication is not enabled") => {}
                Err(status) => return Err(Refused::Login(status)),
            }
        }
        Ok(etcd)
    }

    /// Calls a method that gives one answer, within --command-timeout.
    pub(super) async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.ask(path, request)
            .await
            .map_err(|status| Failure::new(ERROR, words(&status)))
    }

    /// The same with the status as it came.
    pub(super) async fn ask<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let calling = async {
            let mut client = self.client().await?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let path = PathAndQuery::from_static(path);
            client.unary(self.request(request), path, codec).await
        };
        match tokio::time::timeout(self.timeout, calling).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
        }
    }

    /// Calls a method that streams, with all that we shall say; nothing limits its time.
    pub(super) async fn stream<Q, A>(
        &self,
        path: &'static str,
        requests: impl futures_util::Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Failure>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let calling = async {
            let mut client = self.client().await?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let path = PathAndQuery::from_static(path);
            client.streaming(self.request(requests), path, codec).await
        };
        let answer = calling.await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| Failure::new(ERROR, words(&status)))
    }

    async fn client(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(UNLIMITED);
        let ready = client.ready().await;
        ready.map_err(|error| Status::unavailable(causes(&error)))?;
        Ok(client)
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

/// Why there is no connection.
pub(super) enum Refused {
    /// Nobody there.
    Unreachable(String),
    /// Somebody, who does not know us.
    Login(Status),
}

/// What etcdctl prints of a status.
pub(super) fn words(status: &Status) -> String {
    match (status.code(), status.message()) {
        (Code::DeadlineExceeded, _) => "context deadline exceeded".to_owned(),
        (code, "") => format!("rpc error: code = {code:?} desc = "),
        (_, text) => text.to_owned(),
    }
}

/// An error with what caused it; tonic's own text says nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
