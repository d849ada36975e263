//! Echo: answers the request with which a sender checks that an address is really its user's. The
//! response sends a field of the request back, and the request is not an event.

use subtle::ConstantTimeEq;

use crate::{
    answer::{Answer, EchoedField},
    arena::Arena,
    fields::Fields,
    request::{body::Payload, text_field::text_field},
};

/// The field that a route sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// The name of the field, at the top level of the query or the body.
    pub field: &'static str,
    /// Whether the response is a JSON object with the field; otherwise, it is the value as text.
    pub is_json: bool,
    /// The token that the request must have.
    pub token: Option<EchoToken>,
}

/// The token without which the response does not send the field back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoToken {
    /// The name of the field with the token.
    pub field: &'static str,
    /// The environment variable with the expected token.
    pub env: &'static str,
}

impl Echo {
    /// Returns the answer to a request with the field; `None` for all other requests.
    pub(super) fn answer<'a>(
        &self,
        query: &'a Fields<'_>,
        payload: &'a Payload<'a>,
        arena: &'a Arena,
    ) -> Option<Answer<'a>> {
        self.answer_with(|name| query.text(name).or_else(|| text_field(payload, name, arena)))
    }

    /// Returns the answer to a request of many events, whose query alone may have the field.
    #[cold]
    pub(super) fn answer_to_query<'a>(&self, query: &'a Fields<'_>) -> Option<Answer<'a>> {
        self.answer_with(|name| query.text(name))
    }

    fn answer_with<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> Option<Answer<'a>> {
        let value = field(self.field)?;
        if let Some(token) = self.token
            && let Err(answer) = token.check(field(token.field))
        {
            return Some(answer);
        }
        Some(Answer::Echo(EchoedField {
            name: self.field,
            value,
            is_json: self.is_json,
        }))
    }
}

impl EchoToken {
    /// Checks the token of a request.
    ///
    /// # Errors
    ///
    /// The answer to a wrong token: 403. The answer if the environment variable is not set or empty:
    /// 503, so that the sender tries again.
    fn check(&self, given: Option<&str>) -> Result<(), Answer<'static>> {
        let expected = std::env::var(self.env).unwrap_or_default();
        if expected.is_empty() {
            tracing::debug!(variable = self.env, "the environment variable of a token is not set");
            return Err(Answer::NO_TOKEN);
        }
        // The time depends on the lengths alone, so that it tells no client how much of a token is right.
        if bool::from(given.unwrap_or_default().as_bytes().ct_eq(expected.as_bytes())) {
            Ok(())
        } else {
            Err(Answer::WRONG_TOKEN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_token_is_right() {
        // A variable that every test has.
        let token = EchoToken {
            field: "t",
            env: "PATH",
        };
        let expected = std::env::var("PATH").unwrap_or_default();
        let status =
            |token: EchoToken, given: Option<&str>| token.check(given).map_err(|answer| answer.status().as_u16());
        assert_eq!(status(token, Some(&expected)), Ok(()));
        let cut = &expected[..expected.len() - 1];
        for given in [
            None,
            Some(""),
            Some(cut),
            Some(&format!("{expected}x")),
            Some(&format!("{cut}\0")),
        ] {
            assert_eq!(status(token, given), Err(403), "{given:?}");
        }
        let unset = EchoToken {
            field: "t",
            env: "ROWMILL_NO_SUCH_TOKEN",
        };
        for given in [None, Some(""), Some("x")] {
            assert_eq!(status(unset, given), Err(503));
        }
    }
}
