//! Which resource a request is for: path and method to [`Route`], pure, with fleet's own ideas of what is no resource.
//! Source: contract `fleet.md` section 2.

use axum::http::{Method, StatusCode};

use super::answer::Refusal;

/// The two names of the same API.
const PREFIXES: [&str; 2] = ["/fleet/v1", "/v1-alpha"];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// GET /units
    ListUnits,
    /// GET /units/{name}
    GetUnit(String),
    /// PUT /units/{name}
    PutUnit(String),
    /// DELETE /units/{name}
    DeleteUnit(String),
    /// GET /state
    ListStates,
    /// GET /state/{name}
    GetState(String),
    /// GET /machines
    ListMachines,
    /// PATCH /machines
    PatchMachines,
    /// GET /discovery
    Discovery,
    /// GET /metrics
    Metrics,
}

/// The resource for `method` on `path` (as it stands in the request line, percent-encoded).
///
/// # Errors
/// fleet's 404, 405 and, for the discovery document, 400.
pub fn route(method: &Method, path: &str) -> Result<Route, Refusal> {
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "");
    if path == "/metrics" {
        return only(
            method,
            &Method::GET,
            Route::Metrics,
            StatusCode::METHOD_NOT_ALLOWED,
            ONLY_GET,
        );
    }
    if path == "/" || PREFIXES.contains(&path) {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ""));
    }
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix)?.strip_prefix('/'))
        .ok_or_else(not_found)?;
    match rest.split_once('/') {
        None => collection(method, rest),
        Some((_, item)) if item.is_empty() || item.contains('/') => Err(not_found()),
        Some((resource, item)) => self::item(method, resource, decode(item).ok_or_else(not_found)?),
    }
}

const ONLY_GET: &str = "only GET supported against this resource";

fn only(
    method: &Method,
    allowed: &Method,
    route: Route,
    status: StatusCode,
    text: &str,
) -> Result<Route, Refusal> {
    if method == allowed {
        Ok(route)
    } else {
        Err(Refusal::new(status, text))
    }
}

fn collection(method: &Method, resource: &str) -> Result<Route, Refusal> {
    let wrong = StatusCode::METHOD_NOT_ALLOWED;
    match resource {
        "units" => only(method, &Method::GET, Route::ListUnits, wrong, ONLY_GET),
        "state" => only(method, &Method::GET, Route::ListStates, wrong, ONLY_GET),
        "machines" if method == Method::PATCH => Ok(Route::PatchMachines),
        "machines" => only(
            method,
            &Method::GET,
            Route::ListMachines,
            wrong,
            "only GET and PATCH supported against this resource",
        ),
        "discovery" => only(
            method,
            &Method::GET,
            Route::Discovery,
            StatusCode::BAD_REQUEST,
            "only HTTP GET supported against this resource",
        ),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "")),
    }
}

fn item(method: &Method, resource: &str, name: String) -> Result<Route, Refusal> {
    let wrong = |text| Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
    match (resource, method.as_str()) {
        ("units", "GET") => Ok(Route::GetUnit(name)),
        ("units", "PUT") => Ok(Route::PutUnit(name)),
        ("units", "DELETE") => Ok(Route::DeleteUnit(name)),
        ("units", _) => wrong("only GET, PUT and DELETE supported against this resource"),
        ("state", "GET") => Ok(Route::GetState(name)),
        ("state", _) => wrong(ONLY_GET),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "")),
    }
}

/// Undoes percent-encoding; `None` for a broken escape or text that is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut found = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        found.push(match byte {
            b'%' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(found).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let refused = |status: u16, text: &str| Err((status, text.to_owned()));
        type Case<'a> = (&'a str, &'a str, Result<Route, (u16, String)>);
        let cases: &[Case<'_>] = &[
            ("GET", "/fleet/v1/units", Ok(Route::ListUnits)),
            ("GET", "/v1-alpha/units", Ok(Route::ListUnits)),
            (
                "PUT",
                "/fleet/v1/units/a%401.service",
                Ok(Route::PutUnit("a@1.service".into())),
            ),
            (
                "GET",
                "/fleet/v1/state/a.service",
                Ok(Route::GetState("a.service".into())),
            ),
            ("PATCH", "/fleet/v1/machines", Ok(Route::PatchMachines)),
            ("GET", "/fleet/v1/discovery", Ok(Route::Discovery)),
            ("GET", "/metrics", Ok(Route::Metrics)),
            (
                "POST",
                "/fleet/v1/discovery",
                refused(400, "only HTTP GET supported against this resource"),
            ),
            (
                "POST",
                "/fleet/v1/units",
                refused(405, "only GET supported against this resource"),
            ),
            (
                "HEAD",
                "/fleet/v1/units",
                refused(405, "only GET supported against this resource"),
            ),
            (
                "POST",
                "/fleet/v1/units/a",
                refused(405, "only GET, PUT and DELETE supported against this resource"),
            ),
            (
                "DELETE",
                "/fleet/v1/machines",
                refused(405, "only GET and PATCH supported against this resource"),
            ),
            (
                "PUT",
                "/fleet/v1/state",
                refused(405, "only GET supported against this resource"),
            ),
            ("GET", "/", refused(405, "")),
            ("GET", "/fleet/v1", refused(405, "")),
            ("GET", "/fleet/v1/", refused(404, "")),
            ("GET", "/fleet/v1/units/", refused(404, "")),
            ("GET", "/fleet/v1/units/a/b", refused(404, "")),
            ("GET", "/fleet/v1/machines/x", refused(404, "")),
            ("GET", "/fleet/v1/units/%zz", refused(404, "")),
            ("GET", "/fleet/v2/units", refused(404, "")),
            ("GET", "/fleet/v1units", refused(404, "")),
        ];
        for (method, path, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let found = route(&method, path).map_err(|refusal| (refusal.status.as_u16(), refusal.message));
            assert_eq!(found, *expected, "{method} {path}");
        }
    }
}
