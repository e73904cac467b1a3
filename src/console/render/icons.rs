//! Small drawings, each a single path on a grid of 16. They carry no meaning of their own: words
//! stand beside every one.

use maud::{Markup, html};

fn icon(path: &str) -> Markup {
    html! {
        svg .icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
            path d=(path) fill="none" stroke="currentColor" stroke-width="1.5"
                stroke-linecap="round" stroke-linejoin="round" {}
        }
    }
}

/// A person.
pub fn person() -> Markup {
    icon("M8 7.5a2.75 2.75 0 1 0 0-5.5 2.75 2.75 0 0 0 0 5.5ZM2.75 14a5.25 5.25 0 0 1 10.5 0")
}

/// A program with an API key.
pub fn key() -> Markup {
    icon("M7.2 8.8 13.5 2.5M11 5l1.8 1.8M5.25 13.5a2.75 2.75 0 1 0 0-5.5 2.75 2.75 0 0 0 0 5.5Z")
}

/// A program with a client's credentials.
pub fn client() -> Markup {
    icon("M3 3.5h10v9H3zM3 6.5h10M5.5 9.5h2")
}

/// An operator.
pub fn operator() -> Markup {
    icon("M8 1.75 13 3.5v4c0 3-2 5.5-5 6.75C5 13 3 10.5 3 7.5v-4L8 1.75Z")
}

/// The service itself.
pub fn system() -> Markup {
    icon("M8 4.25V8l2.5 1.5M8 14.25a6.25 6.25 0 1 0 0-12.5 6.25 6.25 0 0 0 0 12.5Z")
}

/// A tick.
pub fn check() -> Markup {
    icon("m3.5 8.5 3 3 6-7")
}

/// Something to take along.
pub fn download() -> Markup {
    icon("M8 2.5v7.5M4.75 7 8 10.25 11.25 7M3 13.25h10")
}

/// A magnifying glass.
pub fn search() -> Markup {
    icon("m10.5 10.5 3.5 3.5M6.75 12a5.25 5.25 0 1 0 0-10.5 5.25 5.25 0 0 0 0 10.5Z")
}
