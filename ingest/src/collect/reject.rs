//! Reject: the response and the dead letter of an event that did not become a row.

use http::StatusCode;

use crate::{
    ack::Ack,
    answer::{Answer, ResponseDraft},
    collect::{Collector, head::RequestHead, resolve::VisitorUid, response::answer_of, route::Routes},
    intake::{event_meta::EventMeta, rejection::Rejection},
    request::{
        body::{BodyError, Payload},
        claims::Claims,
    },
    table::dead_letter::DeadLetter,
};

impl Rejection {
    /// Returns the answer for the client; `message` is the rejection's
    /// [`message`](Self::message).
    pub(super) fn answer<'m>(&'m self, message: &'m str) -> Answer<'m> {
        match self {
            Self::Syntax(_)
            | Self::NotAnObject(_)
            | Self::NoItems { .. }
            | Self::Protocol { .. }
            | Self::Csv(_)
            | Self::UnknownKeys { .. }
            | Self::TooLong(_) => Answer::Failed {
                status: StatusCode::BAD_REQUEST,
                reason: Some(message),
            },
            Self::InvalidColumns { columns, .. } => Answer::InvalidColumns(columns),
            Self::SpoolFull => Answer::FULL,
        }
    }

    /// Returns a dead letter for the event, without its payload; `None` if the spool has no space
    /// for a dead letter either.
    pub(super) fn dead_letter<'l>(
        &self,
        head: &'l RequestHead<'_>,
        meta: &EventMeta<'l>,
        message: &'l str,
    ) -> Option<DeadLetter<'l>> {
        let (table, column) = match self {
            Self::Syntax(_)
            | Self::NotAnObject(_)
            | Self::NoItems { .. }
            | Self::Protocol { .. }
            | Self::Csv(_)
            | Self::TooLong(_) => ("", ""),
            Self::InvalidColumns { table, columns } => {
                (table.name, columns.first().map_or("", |column| column.column.name))
            }
            Self::UnknownKeys { table, .. } => (table.name, ""),
            Self::SpoolFull => return None,
        };
        Some(DeadLetter {
            id: meta.id,
            service: meta.service,
            name: meta.name,
            table,
            column,
            ip: meta.ip,
            ..head.dead_letter(self.code(), message)
        })
    }
}

impl Collector {
    /// Rejects a body that cannot be read.
    #[cold]
    pub(super) fn reject_body<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        error: BodyError,
    ) -> ResponseDraft {
        self.writer.rejections().count_event("body");
        self.write_unread_dead_letter(head, body, "body", error.reason());
        let answer = self.answer_to_visitor::<R>(head).unwrap_or(error.into());
        self.draft(answer, head, None)
    }

    /// Rejects a body that is not JSON.
    #[cold]
    pub(super) fn reject_malformed<R: Routes>(
        &self,
        rejection: &Rejection,
        head: &RequestHead<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        uid: Option<VisitorUid>,
    ) -> ResponseDraft {
        let message = rejection.message(payload.json_text());
        self.writer.rejections().count_event(rejection.code());
        self.write_unread_dead_letter(head, body, rejection.code(), &message);
        let answer = self
            .answer_to_visitor::<R>(head)
            .unwrap_or_else(|| rejection.answer(&message));
        self.draft(answer, head, uid)
    }

    /// Returns the image or the redirect that a visitor gets even if the body is malformed; `None`
    /// if the request head asks for neither.
    #[cold]
    pub(super) fn answer_to_visitor<'h, R: Routes>(&self, head: &'h RequestHead<'_>) -> Option<Answer<'h>> {
        let no_claims = Claims::default();
        let (address, _) = self.route::<R>(head, &no_claims)?;
        let meta = self.event_meta(head, &address, self.visitor(head, &no_claims));
        match answer_of(&meta, head.query.text("to")) {
            answer @ (Answer::Pixel | Answer::Redirect(_)) => Some(answer),
            _ => None,
        }
    }

    /// Writes a dead letter with the request's payload: `?` and the query as sent, then the body.
    pub(super) fn write_dead_letter(&self, head: &RequestHead<'_>, body: &[u8], dead_letter: &DeadLetter<'_>) {
        let payload = head.payload_with_query(body);
        self.store_dead_letter(&DeadLetter {
            payload: &payload,
            ..*dead_letter
        });
    }

    /// Writes a dead letter as it is.
    pub(super) fn store_dead_letter(&self, dead_letter: &DeadLetter<'_>) {
        if self.writer.reject(dead_letter, Ack::Accepted).is_err() {
            tracing::debug!(
                code = dead_letter.code,
                "a dead letter is dropped: the spool has no space for it"
            );
        }
    }
}
