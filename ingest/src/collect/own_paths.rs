//! Own paths: the paths and the methods that a sender dictates, beside `/service/name`.

use http::Method;

use crate::request::target::Target;

/// The paths of a route beside `/service/name`, as the schema lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPaths {
    /// The service of the route's events.
    pub service: &'static str,
    /// The name of the route's events.
    pub name: &'static str,
    /// The paths. A path that ends in `/*` stands for all paths below it.
    pub paths: &'static [&'static str],
}

impl OwnPaths {
    /// Parses a request's path. If it is one of these paths, the service and the name are the route's.
    #[cold]
    pub(super) fn target<'a>(&self, path: &'a str) -> Target<'a> {
        let target = Target::parse(path);
        if !self.contain(path) {
            return target;
        }
        Target {
            service: self.service,
            name: self.name,
            extension: target.extension,
            ..Target::default()
        }
    }

    fn contain(&self, path: &str) -> bool {
        self.paths.iter().any(|own| match own.strip_suffix('*') {
            Some(above) => path.len() > above.len() && path.starts_with(above),
            None => path == *own,
        })
    }
}

/// The methods of a route's events; empty for GET and POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(pub &'static [&'static str]);

impl Methods {
    /// Returns whether requests with this method are for the route. The collector itself answers
    /// OPTIONS and HEAD.
    pub(super) fn accept(self, method: &Method) -> bool {
        self.0.is_empty() || matches!(*method, Method::OPTIONS | Method::HEAD) || self.contain(method)
    }

    /// Returns whether the body of a request with this method is part of the event.
    pub(super) fn read_body(self, method: &Method) -> bool {
        *method == Method::POST || (*method != Method::GET && self.contain(method))
    }

    fn contain(self, method: &Method) -> bool {
        self.0.contains(&method.as_str())
    }
}
