//! The values in a query or a body that name an event's address and sender.

use crate::fields::Fields;

/// The claims of a query or a body about its event; `None` if absent or not text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Claims<'a> {
    /// `service`, the first half of the address.
    pub(crate) service: Option<&'a str>,
    /// `name`, the second half.
    pub(crate) name: Option<&'a str>,
    /// `projectId`; a JSON number as its text.
    pub(crate) project: Option<&'a str>,
    /// `uid`; a JSON number as its text.
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
