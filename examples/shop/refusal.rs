//! Why a customer's request is refused.

use gracehttp::{IntoResponse, Response, StatusCode};

#[derive(Debug)]
pub(crate) enum Refusal {
    NoSuchProduct(String),
    NoSuchOrder(usize),
    TooFew { left: u32 },
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::NoSuchProduct(name) => (StatusCode::NOT_FOUND, format!("We have no {name}.\n")),
            Self::NoSuchOrder(number) => (StatusCode::NOT_FOUND, format!("There is no order {number}.\n")),
            Self::TooFew { left } => (StatusCode::CONFLICT, format!("There are only {left} left.\n")),
        };
        (status, reason).into_response()
    }
}
