//! Who may use the clients' listeners from a browser: `--cors` and `--host-whitelist`, as etcd 3.4 has them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{self, Next};

use crate::http::App;
use crate::settings::Alone;

struct Rules {
    origins: Vec<String>,
    /// All when empty.
    hosts: Vec<String>,
}

/// Puts the rules before `app`; host names matter only where TLS does not show who is asked.
pub fn guarded(app: App, settings: &Alone, tls: bool) -> App {
    let all = |list: &[String]| list.is_empty() || list.iter().any(|entry| entry == "*");
    let hosts = if tls || all(&settings.host_whitelist) {
        Vec::new()
    } else {
        settings.host_whitelist.clone()
    };
    let origins = if all(&settings.cors) {
        Vec::new()
    } else {
        settings.cors.clone()
    };
    if hosts.is_empty() && origins.is_empty() {
        return app;
    }
    let rules = middleware::from_fn_with_state(Arc::new(Rules { origins, hosts }), check);
    app.within(|routes| routes.layer(rules))
}

async fn check(State(rules): State<Arc<Rules>>, request: Request, next: Next) -> Response<Body> {
    if let Some(host) = unknown_host(&rules, &request) {
        return unrecognized(&host);
    }
    let origin = text(&request, header::ORIGIN).map(str::to_owned);
    let mut answer = next.run(request).await;
    if !rules.origins.is_empty() {
        let allowed = origin.filter(|origin| rules.origins.contains(origin));
        let headers = answer.headers_mut();
        match allowed.and_then(|origin| HeaderValue::try_from(origin).ok()) {
            Some(origin) => drop(headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)),
            None => {
                headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
                headers.remove(header::ACCESS_CONTROL_ALLOW_METHODS);
                headers.remove(header::ACCESS_CONTROL_ALLOW_HEADERS);
            }
        }
    }
    answer
}

fn text(request: &Request, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The host a request is for, without its port, if nobody allowed it.
fn unknown_host(rules: &Rules, request: &Request) -> Option<String> {
    let host = request
        .uri()
        .host()
        .or(text(request, header::HOST))
        .unwrap_or_default();
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let known = rules.hosts.is_empty() || rules.hosts.iter().any(|allowed| allowed == bare);
    (!known).then(|| bare.to_owned())
}

/// etcd's answer to a host name nobody allowed (CVE-2018-5702).
fn unrecognized(host: &str) -> Response<Body> {
    let text = format!(
        "\netcd received your request, but the Host header was unrecognized.\n\nTo fix this, choose one of the following \
         options:\n- Enable TLS, then any HTTPS request will be allowed.\n- Add the hostname you want to use to the \
         whitelist in settings.\n  - e.g. etcd --host-whitelist {host:?}\n\nThis requirement has been added to help prevent \
         \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n"
    );
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    answer
}
