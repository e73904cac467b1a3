//! Turning the pages of a list that goes on behind its last item.

use super::ignored::is_among;
use crate::console::sent::{Sent, address};
use maud::{Markup, html};

/// The parameter that names the item behind which a page goes on.
const AFTER: &str = "after";

/// What an address asks for that a list of pages does not have which can be asked for nothing else.
pub fn strange(sent: &Sent) -> Vec<(String, String)> {
    sent.sifted(
        |name, _| if name == AFTER { sent.id(AFTER).is_some() } else { is_among(&[], name) },
    )
    .1
}

/// Whether a page is asked for that is not the first.
pub fn is_further(sent: &Sent) -> bool {
    sent.id(AFTER).is_some()
}

/// What stands where a list has nothing behind the item that was named.
pub fn nothing_further() -> Markup {
    html! { div .empty { p { "Nothing further." } } }
}

/// The ways to the first page of the list at this path and to the next one.
pub fn pager(path: &str, sent: &Sent, next: Option<&str>) -> Markup {
    let is_further = is_further(sent);
    html! {
        @if is_further || next.is_some() {
            nav .pager aria-label="Pages" {
                span {}
                div {
                    @if is_further { a .button href=(path) { "First page" } }
                    @if let Some(next) = next {
                        a .button rel="next" href=(address(path, [(AFTER, next)])) { "Next page" }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_turned_on_and_back_to_its_beginning() {
        let html =
            |sent: &str, next| pager("/list", &Sent::parse(sent.as_bytes()), next).into_string();
        assert_eq!(html("", None), "");
        let first = html("", Some("a"));
        assert!(first.contains("href=\"/list?after=a\"") && !first.contains("First page"));
        let last = html("after=018f0000-0000-7000-8000-000000000000", None);
        assert!(last.contains("href=\"/list\"") && !last.contains("Next page"));
    }
}
