//! fleet's API, version 1: units, states and machines as HTTP resources.
//!
//! Reads see everything acknowledged before, on any node (they ask the leader how far to wait); without a quorum there
//! is no answer but 503. Source: contract `fleet.md` section 2; of the traps of its section 0, `states` keeps the first, and
//! `held` the tenth.

mod answer;
mod bounds;
mod discovery;
#[cfg(test)]
mod flood;
mod held;
#[cfg(test)]
mod hostile;
mod machines;
mod paging;
mod route;
mod states;
#[cfg(test)]
mod tests;
mod units;
mod wire;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use corten_raft::{Node, ProposeError, ReadTx};
use corten_store::fleet::{Answer, Command};
use corten_store::keys::form;
use corten_store::{Response as Outcome, StoreFault};

use answer::Refusal;
use bounds::{Bounds, Numbers};
use held::Held;
use paging::PageToken;
use route::Route;

use crate::http::App;

/// What the API needs to answer.
#[derive(Clone)]
pub struct Api {
    node: Node,
    token_limit: u16,
    bounds: Bounds,
    held: Held,
}

impl Api {
    /// The API of `node`, with `token_limit` entries per page.
    pub fn new(node: Node, token_limit: u16) -> Api {
        Api {
            node,
            token_limit,
            bounds: Bounds::new(Numbers::default()),
            held: Held::default(),
        }
    }

    /// A read that sees everything acknowledged before it.
    async fn read<T>(&self, f: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreFault>) -> Result<T, Refusal> {
        self.node
            .linearize()
            .await
            .map_err(|error| Refusal::unavailable(&error))?;
        self.local(f)
    }

    /// A read of what this node has.
    fn local<T>(&self, f: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreFault>) -> Result<T, Refusal> {
        self.node.read(f).map_err(|fault| Refusal::internal(&fault))
    }

    /// A change, committed and in this node's state when it returns.
    async fn change(&self, command: Command) -> Result<Answer, Refusal> {
        match self.node.propose(corten_store::Command::Fleet(command)).await {
            Ok(applied) => match applied.response {
                Outcome::Fleet(answer) => Ok(answer),
                other => Err(Refusal::internal(&format!(
                    "the store answered {other:?} to a change of the fleet"
                ))),
            },
            Err(error @ ProposeError::NoSpace) => {
                Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()))
            }
            Err(error) => Err(Refusal::unavailable(&error)),
        }
    }
}

/// A request's parameters.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Result<Query, Refusal> {
        form::pairs(text.as_bytes(), b"")
            .map(Query)
            .map_err(|error| Refusal::bad_request(error.cause))
    }

    fn first(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.clone())
    }

    fn page(&self, limit: u16) -> Result<PageToken, Refusal> {
        let values: Vec<String> = self
            .0
            .iter()
            .filter(|(key, _)| key == "nextPageToken")
            .map(|(_, value)| value.clone())
            .collect();
        PageToken::asked(&values, limit).map_err(Refusal::bad_request)
    }
}

/// The API as what a listener serves.
pub fn app(api: Api) -> App {
    let limits = api.bounds.limits();
    App::from(Router::new().fallback(serve).with_state(api)).limited(limits)
}

async fn serve(State(api): State<Api>, request: Request<Body>) -> Response<Body> {
    let place = match api.bounds.request() {
        Ok(place) => place,
        Err(refusal) => return answer::refusal(&refusal),
    };
    let answer = dispatch(&api, request)
        .await
        .unwrap_or_else(|refusal| answer::refusal(&refusal));
    api.bounds.keep(answer, place).await
}

async fn dispatch(api: &Api, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let route = route::route(&head.method, head.uri.path())?;
    let query = Query::of(head.uri.query().unwrap_or(""))?;
    let _turn = match route {
        Route::ListUnits | Route::ListStates | Route::ListMachines => api.bounds.list().await,
        _ => None,
    };
    match route {
        Route::ListUnits => units::list(api, &query).await,
        Route::GetUnit(name) => units::get(api, &name).await,
        Route::PutUnit(name) => units::put(api, &name, &head.headers, body).await,
        Route::DeleteUnit(name) => units::destroy(api, &name).await,
        Route::ListStates => states::list(api, &query).await,
        Route::GetState(name) => states::get(api, &name).await,
        Route::ListMachines => machines::list(api, &query).await,
        Route::PatchMachines => machines::patch(api, body).await,
        Route::Discovery => Ok(answer::json(StatusCode::OK, &discovery::document())),
        Route::Metrics => Err(Refusal::new(StatusCode::NOT_FOUND, "no metrics are kept yet")),
    }
}
