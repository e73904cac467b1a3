//! A company's rules for its tokens' terms.

use crate::scope::ScopeSet;
use serde::{Deserialize, Serialize};

/// Seven days, in seconds: how long a token is valid unless asked otherwise.
pub const DEFAULT_VALIDITY_SECONDS: i64 = 604_800;
/// The shortest term, in seconds.
pub const MIN_VALIDITY_SECONDS: i64 = 60;
/// The operator's ceiling on any term, in seconds: 366 days.
pub const VALIDITY_CEILING_SECONDS: i64 = 366 * 86_400;
/// One day, in seconds: the longest grace period unless the policy says otherwise.
pub const DEFAULT_MAX_GRACE_SECONDS: i64 = 86_400;

/// What terms that begin from now on may be. Terms that have begun are left as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The longest term, in seconds.
    pub max_validity_seconds: i64,
    /// The longest that an old secret may live on after a refresh, in seconds.
    pub max_grace_seconds: i64,
    /// The scopes that tokens may have; `None` for all on offer.
    pub allowed_scopes: Option<ScopeSet>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_validity_seconds: DEFAULT_VALIDITY_SECONDS,
            max_grace_seconds: DEFAULT_MAX_GRACE_SECONDS,
            allowed_scopes: None,
        }
    }
}

/// Which rule a request went against, and what the rule is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyViolation {
    /// A term longer than the company allows.
    #[error(
        "the company's policy allows at most {max} seconds (max_validity_seconds), {asked} were asked for"
    )]
    MaxValidity {
        /// Seconds asked for.
        asked: i64,
        /// Seconds allowed.
        max: i64,
    },
    /// A term shorter than any token may have.
    #[error("a term has at least {MIN_VALIDITY_SECONDS} seconds, {asked} were asked for")]
    MinValidity {
        /// Seconds asked for.
        asked: i64,
    },
    /// A grace period longer than the company allows.
    #[error(
        "the company's policy allows a grace period of 0 to {max} seconds (max_grace_seconds), {asked} were asked for"
    )]
    MaxGrace {
        /// Seconds asked for.
        asked: i64,
        /// Seconds allowed.
        max: i64,
    },
    /// Scopes that the company does not allow.
    #[error("the company's policy (allowed_scopes) does not allow: {scopes}")]
    AllowedScopes {
        /// Those that are too many.
        scopes: ScopeSet,
    },
}

impl PolicyViolation {
    /// The rule's name.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::MaxValidity { .. } => "max_validity_seconds",
            Self::MinValidity { .. } => "min_validity_seconds",
            Self::MaxGrace { .. } => "max_grace_seconds",
            Self::AllowedScopes { .. } => "allowed_scopes",
        }
    }

    /// Whether the rule is the company's own; others hold for everybody.
    pub const fn is_companys_own(&self) -> bool {
        !matches!(self, Self::MinValidity { .. })
    }

    /// The rule's bound, in seconds, where it has one.
    pub const fn limit(&self) -> Option<i64> {
        match self {
            Self::MaxValidity { max, .. } | Self::MaxGrace { max, .. } => Some(*max),
            Self::MinValidity { .. } => Some(MIN_VALIDITY_SECONDS),
            Self::AllowedScopes { .. } => None,
        }
    }

    /// The request field that went against the rule.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::MaxValidity { .. } | Self::MinValidity { .. } => "expires_in_seconds",
            Self::MaxGrace { .. } => "grace_period_seconds",
            Self::AllowedScopes { .. } => "scopes",
        }
    }
}

impl Policy {
    /// How long a term is: what was asked for, or the lesser of seven days and the maximum.
    ///
    /// # Errors
    /// When what was asked for is out of bounds.
    pub fn validity(&self, asked: Option<i64>) -> Result<i64, PolicyViolation> {
        match asked {
            None => Ok(DEFAULT_VALIDITY_SECONDS.min(self.max_validity_seconds)),
            Some(asked) if asked < MIN_VALIDITY_SECONDS => {
                Err(PolicyViolation::MinValidity { asked })
            }
            Some(asked) if asked > self.max_validity_seconds => {
                Err(PolicyViolation::MaxValidity { asked, max: self.max_validity_seconds })
            }
            Some(asked) => Ok(asked),
        }
    }

    /// Checks a grace period, in seconds.
    ///
    /// # Errors
    /// When it is negative or longer than the maximum.
    pub fn grace(&self, asked: i64) -> Result<i64, PolicyViolation> {
        if (0..=self.max_grace_seconds).contains(&asked) {
            Ok(asked)
        } else {
            Err(PolicyViolation::MaxGrace { asked, max: self.max_grace_seconds })
        }
    }

    /// Checks scopes.
    ///
    /// # Errors
    /// When some are not allowed.
    pub fn scopes(&self, asked: &ScopeSet) -> Result<(), PolicyViolation> {
        let Some(allowed) = &self.allowed_scopes else { return Ok(()) };
        let scopes = asked.without(allowed);
        if scopes.is_empty() { Ok(()) } else { Err(PolicyViolation::AllowedScopes { scopes }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What whoever is refused is told: the rule's name, whose it is, its bound, the field.
    #[test]
    fn a_violation_names_its_rule_and_the_rule_is_the_one_that_was_broken() {
        let scopes = |text: &str| text.parse::<ScopeSet>().unwrap();
        let policy = Policy {
            max_validity_seconds: 3600,
            max_grace_seconds: 60,
            allowed_scopes: Some(scopes("employees")),
        };
        let told = |violation: PolicyViolation| {
            (violation.rule(), violation.is_companys_own(), violation.limit(), violation.field())
        };
        assert_eq!(
            told(policy.validity(Some(3601)).unwrap_err()),
            ("max_validity_seconds", true, Some(3600), "expires_in_seconds")
        );
        assert_eq!(
            told(policy.validity(Some(59)).unwrap_err()),
            ("min_validity_seconds", false, Some(60), "expires_in_seconds")
        );
        for asked in [61, -1] {
            assert_eq!(
                told(policy.grace(asked).unwrap_err()),
                ("max_grace_seconds", true, Some(60), "grace_period_seconds")
            );
        }
        let refused = policy.scopes(&scopes("employees positions")).unwrap_err();
        assert_eq!(refused, PolicyViolation::AllowedScopes { scopes: scopes("positions") });
        assert_eq!(told(refused), ("allowed_scopes", true, None, "scopes"));
    }

    #[test]
    fn what_is_at_the_bound_breaks_no_rule() {
        let policy = Policy::default();
        assert_eq!(policy.validity(Some(MIN_VALIDITY_SECONDS)), Ok(60));
        assert_eq!(policy.validity(Some(DEFAULT_VALIDITY_SECONDS)), Ok(604_800));
        assert_eq!(policy.grace(0), Ok(0));
        assert_eq!(policy.grace(DEFAULT_MAX_GRACE_SECONDS), Ok(86_400));
    }
}
