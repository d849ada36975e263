//! The address of an event: the claims of path, query and body, and their precedence.
//!
//! A path that names a declared destination is the address ([`Address::of_path`]). For every other
//! path, only the ready collector also reads query and body ([`Address::resolve`]).

use super::project::Project;
use crate::request::{claims::Claims, target::Target};

/// The service, the name and the project of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Address<'a> {
    /// The first half of the destination.
    pub(crate) service: &'a str,
    /// The second half, as sent.
    pub(crate) name: &'a str,
    /// The project: the path's, otherwise the query's, otherwise the body's.
    pub(crate) project: Project,
}

impl<'a> Address<'a> {
    /// Returns the address that the path names; service or name is empty if the path has none.
    /// Query and body can only add the project.
    pub(crate) fn of_path(target: &Target<'a>, query: &Claims<'_>, body: &Claims<'_>) -> Self {
        Self {
            service: target.service,
            name: target.name,
            project: project(target, query, body),
        }
    }

    /// Returns the address by Rockstat's rules. The service is that of the query, the body or the
    /// path, in this order; the name is that of the path, the query or the body. Returns `None` if
    /// service or name is missing.
    pub(crate) fn resolve(target: &Target<'a>, query: &Claims<'a>, body: &Claims<'a>) -> Option<Self> {
        let service = first_claim([query.service, body.service, Some(target.service)])?;
        let name = first_claim([Some(target.name), query.name, body.name])?;
        Some(Self {
            service,
            name,
            project: project(target, query, body),
        })
    }
}

fn project(target: &Target<'_>, query: &Claims<'_>, body: &Claims<'_>) -> Project {
    Project::parse(first_claim([Some(target.project), query.project, body.project]))
}

fn first_claim(claims: [Option<&str>; 3]) -> Option<&str> {
    claims.into_iter().flatten().find(|claim| !claim.is_empty())
}
