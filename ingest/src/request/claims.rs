//! What a query, or a body, says about the event that it belongs to.

use crate::fields::Fields;

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
