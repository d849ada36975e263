//! The path of an upload: the path of a route, after `/upload`.

use http::{Uri, uri::PathAndQuery};

/// The first segment of an upload's path.
const PREFIX: &str = "/upload";

/// Returns the path of the route that an upload is for; `None` if the path is not one of an upload.
pub(in crate::collect) fn upload_path(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX).filter(|path| path.starts_with('/'))
}

/// Returns the URI of the route that an upload is for, with the query of the upload; any other URI is
/// unchanged.
pub(super) fn route_uri(uri: Uri) -> Uri {
    let Some(target) = uri.path_and_query().map(PathAndQuery::as_str) else {
        return uri;
    };
    match upload_path(target).and_then(|target| target.parse().ok()) {
        Some(target) => target,
        None => uri,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_upload_has_the_path_and_the_query_of_its_route() {
        for (uri, expected) in [
            ("/upload/wh/mail?projectId=7", "/wh/mail?projectId=7"),
            ("http://a.example/upload/wh/mail", "/wh/mail"),
            ("/upload//wh", "//wh"),
            ("/uploads/wh/mail", "/uploads/wh/mail"),
            ("/upload", "/upload"),
            ("/wh/mail", "/wh/mail"),
        ] {
            let uri = route_uri(uri.parse().unwrap());
            assert_eq!(uri.path_and_query().unwrap().as_str(), expected);
        }
    }
}
