//! The address of an event: what path, query and body claim, and which claim counts.
//!
//! A path that names a declared destination is the address ([`Address::of_path`]). Only the ready
//! collector asks query and body as well, for every other path ([`Address::resolve`]).

use super::project::Project;
use crate::request::{claims::Claims, target::Target};

/// What an event is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Address<'a> {
    /// The first half of the destination.
    pub(crate) service: &'a str,
    /// The second half, as it was sent.
    pub(crate) name: &'a str,
    /// The project: the path's, else the query's, else the body's.
    pub(crate) project: Project,
}

impl<'a> Address<'a> {
    /// Returns the address that the path names, service or name empty where the path has none;
    /// query and body add the project at most.
    pub(crate) fn of_path(target: &Target<'a>, query: &Claims<'_>, body: &Claims<'_>) -> Self {
        Self {
            service: target.service,
            name: target.name,
            project: project(target, query, body),
        }
    }

    /// Returns the address by the original's grammar: the service of the query before the body's
    /// before the path's, the name of the path before the query's before the body's. `None` when
    /// service or name is missing.
    pub(crate) fn resolve(target: &Target<'a>, query: &Claims<'a>, body: &Claims<'a>) -> Option<Self> {
        let service = first_said([query.service, body.service, Some(target.service)])?;
        let name = first_said([Some(target.name), query.name, body.name])?;
        Some(Self {
            service,
            name,
            project: project(target, query, body),
        })
    }
}

fn project(target: &Target<'_>, query: &Claims<'_>, body: &Claims<'_>) -> Project {
    Project::parse(first_said([Some(target.project), query.project, body.project]))
}

fn first_said(claims: [Option<&str>; 3]) -> Option<&str> {
    claims.into_iter().flatten().find(|claim| !claim.is_empty())
}
