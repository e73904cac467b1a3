//! What the page before has done, told on the page that it leads to.

use super::sent::Sent;
use maud::{Markup, html};

/// What has been done, by the name that addresses carry.
const NOTICES: [(&str, &str); 21] = [
    ("token-edited", "The data accesses were saved. They count at once."),
    ("token-deleted", "The token was deleted. Programs that used it have stopped working."),
    ("nothing-changed", "Nothing was changed: it is as it was before."),
    ("grace-ended", "The old secret has stopped working."),
    ("changed-meanwhile", "Somebody changed it meanwhile. Nothing of yours was done; look again."),
    ("key-deleted", "The API key was deleted."),
    ("client-deleted", "The client and its tokens were deleted."),
    ("member-added", "The member was added."),
    (
        "member-outside",
        "The member was added, and can’t come in yet: the person is a member of another company, \
         which gave out the link to set the password or may do so. Ask an operator of the platform \
         to make a link for a new one.",
    ),
    ("role-changed", "The role was changed."),
    ("member-removed", "The member was removed, and is signed out of this company."),
    (
        "person-erased",
        "The person’s data was erased. What they did stays in the audit trail, with its proofs.",
    ),
    (
        "member-erased",
        "The person’s data was erased. What they did stays in the audit trail, with its proofs. The \
         membership stays too, though nobody can sign in by it: remove it.",
    ),
    (
        "account-kept",
        "The person’s data here was erased. What they did stays in the audit trail, with its proofs. \
         Another company needs the account, which lets nobody in here any more. The membership stays \
         too: remove it.",
    ),
    ("password-changed", "The password was changed. You are signed out everywhere else."),
    ("policy-changed", "The policy was saved. It holds for terms that begin from now on."),
    ("module-on", "The OAuth App module is on. Tokens that are still valid work again."),
    ("module-off", "The OAuth App module is off. No token of the company works."),
    ("company-registered", "The company was registered, with its OAuth App module off."),
    ("rebuild-begun", "The rebuild has begun. Readers are served throughout."),
    ("rebuild-under-way", "None was begun: one is under way. Begin another when it is done."),
];

/// The notice that the address asks for.
pub fn notice(query: &Sent) -> Markup {
    let wanted = query.text("notice");
    let known = NOTICES.iter().find(|(name, _)| *name == wanted);
    let class = match wanted {
        "changed-meanwhile" | "rebuild-under-way" => "soon",
        "nothing-changed" => "neutral",
        _ => "good",
    };
    html! {
        @if let Some((_, text)) = known {
            div .notice .{ (class) } role="status" data-notice[true] { p { (text) } }
        }
    }
}
