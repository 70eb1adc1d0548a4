//! Who hears whom: in front of each member's peer listener stands a gate that turns away what comes over a link that is cut,
//! and remembers what it let through.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// From whom to whom nothing goes.
    cut: BTreeSet<(u64, u64)>,
    /// From whom to whom which messages went.
    carried: BTreeSet<(u64, u64, String)>,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn cut(&self, from: u64, to: u64) {
        self.lock().cut.insert((from, to));
    }

    /// All hear all again.
    pub fn heal(&self) {
        self.lock().cut.clear();
    }

    /// Forgets what was carried.
    pub fn forget(&self) {
        self.lock().carried.clear();
    }

    /// Whether a message of this path went from one to the other.
    pub fn has_carried(&self, from: u64, to: u64, path: &str) -> bool {
        self.lock().carried.contains(&(from, to, path.to_owned()))
    }

    /// A member's listener with its gate.
    pub fn around(&self, member: u64, router: Router) -> Router {
        let links = self.clone();
        let gate = move |request, next| {
            let links = links.clone();
            async move { links.pass(member, request, next).await }
        };
        router.layer(middleware::from_fn(gate))
    }

    async fn pass(&self, to: u64, request: Request, next: Next) -> Response {
        let from = request.headers().get("x-corten-member");
        let from = from.and_then(|id| u64::from_str_radix(id.to_str().ok()?, 16).ok());
        if let Some(from) = from {
            let mut state = self.lock();
            if state.cut.contains(&(from, to)) {
                return (StatusCode::SERVICE_UNAVAILABLE, "the link is cut\n").into_response();
            }
            let path = request.uri().path().to_owned();
            state.carried.insert((from, to, path));
        }
        next.run(request).await
    }
}
