//! The address of an event: what query, body and path claim, and whose word counts.

use super::project::Project;
use crate::{fields::Fields, target::Target};

/// What a query, or a body, says of the event that it belongs to; `None` is absent, or not a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Claims<'a> {
    /// `service`, the first half of the address.
    pub(crate) service: Option<&'a str>,
    /// `name`, the second half.
    pub(crate) name: Option<&'a str>,
    /// `projectId`; a JSON number as the text of it.
    pub(crate) project: Option<&'a str>,
    /// `uid`; a JSON number as the text of it.
    pub(crate) uid: Option<&'a str>,
}

impl<'a> Claims<'a> {
    /// Returns the claims among the fields of a query or a form.
    pub(crate) fn from_fields(fields: &'a Fields<'_>) -> Self {
        let mut claims = Self::default();
        fields.each_text(|name, value| match name {
            "service" => claims.service = Some(value),
            "name" => claims.name = Some(value),
            "projectId" => claims.project = Some(value),
            "uid" => claims.uid = Some(value),
            _ => {}
        });
        claims
    }
}

/// What an event is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Address<'a> {
    /// The service; it stands in the query before the body before the path.
    pub(crate) service: &'a str,
    /// The name; it stands in the path before the query before the body.
    pub(crate) name: &'a str,
    /// The project; looked for in the order of the name.
    pub(crate) project: Project,
}

impl<'a> Address<'a> {
    /// Returns the address of an event; `None` when service or name is missing.
    pub(crate) fn resolve(target: &Target<'a>, query: &Claims<'a>, body: &Claims<'a>) -> Option<Self> {
        let service = first_said([query.service, body.service, Some(target.service)])?;
        let name = first_said([Some(target.name), query.name, body.name])?;
        let project = first_said([Some(target.project), query.project, body.project]);
        Some(Self {
            service,
            name,
            project: Project::parse(project),
        })
    }
}

fn first_said(claims: [Option<&str>; 3]) -> Option<&str> {
    claims.into_iter().flatten().find(|claim| !claim.is_empty())
}
