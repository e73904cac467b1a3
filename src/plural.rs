//! Numbers with what they count.

use std::borrow::Cow;
use std::fmt::Display;

/// `1 event`, `2 events`, `2 companies`
pub(crate) fn counted<T: Copy + Display + PartialEq + From<u8>>(number: T, unit: &str) -> String {
    let units = units(number == T::from(1), unit);
    format!("{number} {units}")
}

/// The unit, or more than one of it.
pub(crate) fn units(is_one: bool, unit: &str) -> Cow<'_, str> {
    match unit.strip_suffix('y') {
        _ if is_one => unit.into(),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies").into(),
        _ => format!("{unit}s").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_the_singular() {
        assert_eq!(counted(1_u64, "company"), "1 company");
        assert_eq!(counted(2_usize, "company"), "2 companies");
        assert_eq!(counted(0_u64, "event"), "0 events");
        assert_eq!(counted(7_i64, "day"), "7 days");
    }
}
