//! Forms: fields with their errors beside them, and the frame that is a page of its own or, with
//! the script, a dialog.

use super::time::{seconds_between, span, stamp};
use crate::app::error::Invalid;
use crate::console::sent::LIST;
use maud::{Markup, html};
use token_ledger_domain::Timestamp;

/// Grace periods that are offered, in seconds, with their words.
const GRACE: [(i64, &str); 3] = [(0, "Now"), (3600, "In 1 hour"), (86_400, "In 24 hours")];

/// What is said where what is refreshed has expired: no old secret is left to choose about.
pub const TERM_ENDED: &str =
    "Its term has ended, and its old secret with it. With the new secret it works again.";

/// What a form is shown with after it was refused.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// What was wrong with single fields.
    pub errors: Vec<Invalid>,
    /// What was wrong altogether.
    pub problem: Option<String>,
}

impl Refused {
    /// What was wrong with a field.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == field).map(|error| error.detail.as_str())
    }
}

/// The frame around a form: a page of its own, or a dialog over the page that it was opened from.
pub fn frame(title: &str, content: &Markup) -> Markup {
    html! {
        section .card #dialog data-dialog-content[true] aria-labelledby="dialog-title" {
            h1 #dialog-title tabindex="-1" { (title) }
            (content)
        }
    }
}

/// The problem of a whole form, announced.
pub fn problem(refused: &Refused) -> Markup {
    html! {
        @if let Some(problem) = &refused.problem {
            div .notice .bad role="alert" { p { (problem) } }
        }
    }
}

/// A text field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field<'a> {
    /// The field's name, also its identifier.
    pub name: &'a str,
    /// The label.
    pub label: &'a str,
    /// What it holds.
    pub value: &'a str,
    /// What helps to fill it in.
    pub hint: &'a str,
    /// The type of input; `text` unless given.
    pub kind: &'a str,
    /// Whether it must be filled in.
    pub required: bool,
    /// Whether browsers shall fill it in, and with what; `off` unless given.
    pub autocomplete: &'a str,
    /// The most characters; no bound where it is 0.
    pub max: usize,
}

/// A text field with its label, hint and error.
pub fn field(field: Field<'_>, error: Option<&str>) -> Markup {
    let Field { name, label, value, hint, kind, required, autocomplete, max } = field;
    let hint_id = format!("{name}-hint");
    let error_id = format!("{name}-error");
    let mut described: Vec<&str> = Vec::new();
    if error.is_some() {
        described.push(&error_id);
    }
    if !hint.is_empty() {
        described.push(&hint_id);
    }
    let described = described.join(" ");
    html! {
        div .field {
            label for=(name) { (label) @if !required { span .optional { " (optional)" } } }
            input id=(name) name=(name) value=(value) type=(or_text(kind, "text"))
                required[required] autocomplete=(or_text(autocomplete, "off"))
                maxlength=[(max > 0).then_some(max)]
                aria-invalid=[error.map(|_| "true")]
                aria-describedby=[(!described.is_empty()).then_some(&described)];
            @if let Some(error) = error { p .problem id=(error_id) { (error) } }
            @if !hint.is_empty() { p .hint id=(hint_id) { (hint) } }
        }
    }
}

fn or_text<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// Why something is done, in the user's words; shown in the audit trail.
pub fn reason(value: &str, refused: &Refused) -> Markup {
    let reason = Field {
        name: "reason",
        label: "Reason",
        value,
        hint: "Shown in the audit trail.",
        max: 500,
        ..Field::default()
    };
    field(reason, refused.of("reason"))
}

/// A choice among a few, all of them visible, each with what stands beside it.
pub fn radios(
    name: &str,
    legend: &str,
    options: &[(String, Markup)],
    chosen: &str,
    error: Option<&str>,
) -> Markup {
    let error_id = format!("{name}-error");
    html! {
        fieldset .radios id=(name) aria-describedby=[error.map(|_| &error_id)] {
            legend { (legend) }
            @if let Some(error) = error { p .problem id=(error_id) { (error) } }
            @for (value, words) in options {
                label {
                    input type="radio" name=(name) value=(value) checked[value == chosen];
                    span { (words) }
                }
            }
        }
    }
}

/// For how long the secret that is made is valid, in seconds: a choice among these terms.
pub fn term(terms: &[i64], chosen: i64, hint: Option<&Markup>, refused: &Refused) -> Markup {
    let error = refused.of("expires_in_seconds");
    let parts =
        [error.map(|_| "expires_in_seconds-error"), hint.map(|_| "expires_in_seconds-hint")];
    let described = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    html! {
        div .field {
            label for="expires_in_seconds" { "Valid for" }
            select #expires_in_seconds name="expires_in_seconds"
                aria-invalid=[error.map(|_| "true")]
                aria-describedby=[(!described.is_empty()).then_some(&described)] {
                @for term in terms {
                    option value=(term) selected[*term == chosen] { (span(*term)) }
                }
            }
            @if let Some(error) = error { p .problem #expires_in_seconds-error { (error) } }
            @if let Some(hint) = hint { p .hint #expires_in_seconds-hint { (hint) } }
        }
    }
}

/// What is said beside the choice of a new term where the present one ends later than the one that
/// is chosen at first, which has this many seconds.
pub fn present_term(expires_at: Timestamp, first: i64, now: Timestamp) -> Option<Markup> {
    (seconds_between(now, expires_at) > first).then(|| {
        html! { "Counted from now. The present term ends on " (stamp(expires_at)) ". " }
    })
}

/// When the old secret stops after a new one was made, as far as the bound allows.
pub fn grace(max: i64, chosen: Option<&str>, refused: &Refused) -> Markup {
    let options: Vec<(String, Markup)> = GRACE
        .into_iter()
        .filter(|(seconds, _)| *seconds <= max)
        .map(|(seconds, words)| (seconds.to_string(), html! { (words) }))
        .collect();
    let (name, error) = ("grace_period_seconds", refused.of("grace_period_seconds"));
    radios(name, "The old secret stops", &options, chosen.unwrap_or("0"), error)
}

/// What the last step is done by, and the way out.
pub fn actions(button: &str, danger: bool, back: &str) -> Markup {
    html! {
        p .actions {
            a .button href=(back) data-cancel[true] { "Cancel" }
            button .main[!danger] .danger[danger] type="submit" { (button) }
        }
    }
}

/// The way out where there is nothing to do: the page beneath, which offered it, is out of date.
pub fn close(back: &str) -> Markup {
    html! { p .actions { a .button href=(back) data-cancel[true] data-stale[true] { "Close" } } }
}

/// Leads back to what the list was asked for that the form was opened from.
pub fn list(asked: &str) -> Markup {
    html! { @if !asked.is_empty() { input type="hidden" name=(LIST) value=(asked); } }
}

/// Keeps the form from overwriting what somebody else did meanwhile.
pub fn version(version: u64) -> Markup {
    html! { input type="hidden" name="version" value=(version); }
}
