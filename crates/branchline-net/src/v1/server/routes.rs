//! Paths and methods. Ids are parsed here, in their one written form; whatever else stands in a path is nowhere.

use std::time::Duration;

use branchline_core::code::Code;
use branchline_core::id::BackupId;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::v1::RECEIPT_WAIT_SECONDS_MAX;
use crate::v1::problem::Refusal;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Hello,
    Status,
    Compare,
    SendWhole,
    Receipt { backup: BackupId, wait: Duration },
    Abilities,
    Create,
    Offset(BackupId),
    Append(BackupId),
    Cancel(BackupId),
}

/// Whether tus' headers belong on the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Uploads,
    Elsewhere,
}

impl Place {
    pub(super) fn of(path: &str) -> Self {
        if path == "/v1/uploads" || path.starts_with("/v1/uploads/") {
            Self::Uploads
        } else {
            Self::Elsewhere
        }
    }
}

pub(super) fn route(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
    let path = uri.path();
    let Some(rest) = path.strip_prefix("/v1/") else {
        return Err(Refusal::of(Code::NOT_FOUND));
    };
    match (rest, method.as_str()) {
        ("hello", "GET") => Ok(Route::Hello),
        ("status", "GET") => Ok(Route::Status),
        ("hello" | "status", _) => Err(not_allowed("GET")),
        ("compare", "POST") => Ok(Route::Compare),
        ("backups", "POST") => Ok(Route::SendWhole),
        ("compare" | "backups", _) => Err(not_allowed("POST")),
        ("uploads", "OPTIONS") => Ok(Route::Abilities),
        ("uploads", "POST") => Ok(Route::Create),
        ("uploads", _) => Err(not_allowed("OPTIONS, POST")),
        _ => route_of_backup(method, rest, uri.query()),
    }
}

fn route_of_backup(method: &Method, rest: &str, query: Option<&str>) -> Result<Route, Refusal> {
    let (place, id) = rest.split_once('/').ok_or_else(|| Refusal::of(Code::NOT_FOUND))?;
    if !matches!(place, "uploads" | "backups") {
        return Err(Refusal::of(Code::NOT_FOUND));
    }
    let backup: BackupId = id.parse().map_err(|_| Refusal::of(Code::ID_INVALID))?;
    match (place, method.as_str()) {
        ("backups", "GET") => Ok(Route::Receipt { backup, wait: wait_of(query)? }),
        ("backups", _) => Err(not_allowed("GET")),
        (_, "HEAD") => Ok(Route::Offset(backup)),
        (_, "PATCH") => Ok(Route::Append(backup)),
        (_, "DELETE") => Ok(Route::Cancel(backup)),
        _ => Err(not_allowed("HEAD, PATCH, DELETE")),
    }
}

fn wait_of(query: Option<&str>) -> Result<Duration, Refusal> {
    let Some(query) = query else {
        return Ok(Duration::ZERO);
    };
    let seconds: Option<u64> = query.strip_prefix("wait=").and_then(|text| text.parse().ok());
    let seconds =
        seconds.ok_or_else(|| Refusal::saying(Code::REQUEST_INVALID, "the query is wait=SECONDS"))?;
    Ok(Duration::from_secs(seconds.min(RECEIPT_WAIT_SECONDS_MAX)))
}

fn not_allowed(methods: &'static str) -> Refusal {
    Refusal::saying(Code::REQUEST_INVALID, format!("this takes {methods} only"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
        .with_header(ALLOW, HeaderValue::from_static(methods))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a2f4e-0000-7000-8000-000000000000";

    fn routed(method: &str, uri: &str) -> Result<Route, u16> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        route(&method, &uri.parse().unwrap()).map_err(|refusal| refusal.into_response().status().as_u16())
    }

    #[test]
    fn paths_lead_where_the_protocol_says() {
        let backup = ID.parse().unwrap();
        assert_eq!(routed("GET", "/v1/hello"), Ok(Route::Hello));
        assert_eq!(routed("PATCH", &format!("/v1/uploads/{ID}")), Ok(Route::Append(backup)));
        let wait = Duration::from_secs(7);
        assert_eq!(routed("GET", &format!("/v1/backups/{ID}?wait=7")), Ok(Route::Receipt { backup, wait }));
        let wait = Duration::from_secs(RECEIPT_WAIT_SECONDS_MAX);
        assert_eq!(
            routed("GET", &format!("/v1/backups/{ID}?wait=9999999")),
            Ok(Route::Receipt { backup, wait })
        );
        assert_eq!(routed("GET", &format!("/v1/backups/{ID}?wait=x")), Err(400));
        assert_eq!(routed("GET", &format!("/v1/uploads/{ID}")), Err(405));
        assert_eq!(routed("POST", "/v1/hello"), Err(405));
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in
            ["/", "/v1", "/v1/", "/v2/hello", "/v1/hello/", "/v1/pair", "/v1/etc/passwd", "/v1//hello", "*"]
        {
            assert_eq!(routed("GET", path), Err(404), "{path}");
        }
        for id in [
            "",
            "..",
            "../../etc/passwd",
            "%2e%2e%2f",
            &ID.to_uppercase(),
            &format!("{ID}/"),
            &format!("{ID}.json"),
        ] {
            assert_eq!(routed("PATCH", &format!("/v1/uploads/{id}")), Err(400), "{id}");
        }
    }
}
