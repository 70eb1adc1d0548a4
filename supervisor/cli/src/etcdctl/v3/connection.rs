//! The members as a v3 client sees them: one connection to the first that can be reached, a token if we are somebody, and
//! calls by the names of the API. The call under which the connection breaks fails ([`is_lost`]); the next one connects
//! again, to the member behind the lost one.

use std::time::Duration;

use corten_etcd_api::etcdserverpb as pb;
use hyper::http::uri::PathAndQuery;
use prost::Message;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::dial::{Dialler, Unreached};
use super::fault::{BAD_CONNECTION, ERROR, Failure};
use super::settings::Settings;
use super::trace::Trace;
use crate::etcdctl::settings::Endpoint;

/// What a member without a leader says.
pub(super) const NO_LEADER: &str = "etcdserver: no leader";

/// Answers may be as large as the server makes them.
const UNLIMITED: usize = usize::MAX;

/// The least time between two pings, as Go's client has it: servers end connections that ping oftener than every 5 s.
const LEAST_KEEPALIVE: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) struct Etcd {
    channel: Channel,
    trace: Trace,
    user: Option<(String, String)>,
    token: Option<AsciiMetadataValue>,
    timeout: Duration,
}

impl Etcd {
    /// Connects to the first member that can be reached, and logs in there.
    pub(super) async fn connect(settings: &Settings) -> Result<Etcd, Failure> {
        match Etcd::connect_to(settings, &settings.endpoints).await {
            Ok(etcd) => Ok(etcd),
            Err(Refused::Unreachable(why)) => {
                Err(Failure::new(ERROR, format!("context deadline exceeded\n{why}")))
            }
            Err(Refused::Login(status)) => Err(Failure::new(BAD_CONNECTION, words(&status))),
        }
    }

    /// The same with these members only.
    pub(super) async fn connect_to(settings: &Settings, endpoints: &[Endpoint]) -> Result<Etcd, Refused> {
        let trace = Trace::new(settings.tls.shows_certificate());
        let dialler = Dialler::new(settings, endpoints, trace.clone());
        // The dialler knows where to; what stands here only has to be a URL, and is the authority of the requests.
        let authority = endpoints.first().map(|endpoint| endpoint.target.authority());
        let server = Channel::from_shared(format!("http://{}", authority.unwrap_or_default()))
            .map_err(|error| Refused::Unreachable(Unreached::of(&error)))?
            .http2_keep_alive_interval(settings.keepalive_time.max(LEAST_KEEPALIVE))
            .keep_alive_timeout(settings.keepalive_timeout);
        let dialling = server.connect_with_connector(tower::service_fn(move |_: Uri| dialler.clone().dial()));
        let mut etcd = Etcd {
            channel: dialling
                .await
                .map_err(|error| Refused::Unreachable(Unreached::of(&error)))?,
            trace,
            user: settings.user.clone(),
            token: None,
            timeout: settings.command_timeout,
        };
        match etcd.log_in().await {
            Ok(()) => Ok(etcd),
            Err(status) if is_lost(&status) => Err(Refused::Unreachable(Unreached(vec![(
                etcd.trace.url(),
                etcd.why(&status),
            )]))),
            Err(status) => Err(Refused::Login(status)),
        }
    }

    /// Gets a token, if we are somebody.
    pub(super) async fn log_in(&mut self) -> Result<(), Status> {
        let Some((name, password)) = self.user.clone() else {
            return Ok(());
        };
        let request = pb::AuthenticateRequest { name, password };
        let answer: Result<pb::AuthenticateResponse, Status> =
            self.ask("/etcdserverpb.Auth/Authenticate", request).await;
        match answer {
            Ok(answer) => {
                self.token = AsciiMetadataValue::try_from(answer.token).ok();
                Ok(())
            }
            // Where users do not matter, a name does no harm.
            Err(status) if status.message().contains("authentication is not enabled") => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Calls a method that gives one answer, within --command-timeout.
    pub(super) async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.ask(path, request)
            .await
            .map_err(|status| self.failure(&status))
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
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.streaming(path, self.request(requests)).await
    }

    /// The same, and the member shall end it when it is without a leader for long ([`NO_LEADER`]).
    pub(super) async fn stream_under_leader<Q, A>(
        &self,
        path: &'static str,
        requests: impl futures_util::Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut request = self.request(requests);
        let yes = AsciiMetadataValue::from_static("true");
        request.metadata_mut().insert("hasleader", yes);
        self.streaming(path, request).await
    }

    async fn streaming<Q, A>(
        &self,
        path: &'static str,
        request: Request<impl futures_util::Stream<Item = Q> + Send + 'static>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut client = self.client().await?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        let answer = client.streaming(request, path, codec).await;
        answer.map(tonic::Response::into_inner)
    }

    /// The end of a command that a status is.
    pub(super) fn failure(&self, status: &Status) -> Failure {
        let text = match is_lost(status) {
            true => format!("{}: {}", self.trace.url(), self.why(status)),
            false => words(status),
        };
        Failure::new(ERROR, text)
    }

    /// What a status says, in words; of a lost connection, why.
    pub(super) fn why(&self, status: &Status) -> String {
        match is_lost(status) {
            true => self.trace.reason().unwrap_or_else(|| causes(status)),
            false => words(status),
        }
    }

    async fn client(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(UNLIMITED);
        let ready = client.ready().await;
        ready.map_err(|error| Status::from_error(Box::new(error)))?;
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
    Unreachable(Unreached),
    /// Somebody, who does not know us.
    Login(Status),
}

/// Whether a status is none of the server's: the connection broke under the call, or could not be made again.
pub(super) fn is_lost(status: &Status) -> bool {
    // tonic keeps no error where the answer ended before its status came.
    std::error::Error::source(status).is_some() || status.message().starts_with("protocol error")
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
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
