//! How hard a new password is to guess, by what guessers try first: common passwords, words, names,
//! dates, rows of keys, and what is known of the person (zxcvbn).
//!
//! Must never take long over what a stranger sends: what is looked at is bounded.

use zxcvbn::zxcvbn;

use crate::password::PasswordError;

/// Characters of a password that are looked at: the cost grows faster than the length, and what is
/// strong by then is not made weak by more.
const JUDGED_LENGTH_MAX: usize = 48;
/// Shortest word of a person's that counts, in characters: shorter ones are in everything.
const WORD_LENGTH_MIN: usize = 3;
const WORD_LENGTH_MAX: usize = 40;
const WORDS_MAX: usize = 40;

const BY_DEFAULT: &str = "Use a few words that have nothing to do with each other.";
const OWN_WORD: &str = "It is made of what is known about you: your name, address or organisation.";

/// Judges passwords of one person.
pub(crate) struct Judge {
    score_min: u8,
    words: Vec<String>,
}

impl Judge {
    /// By the least score (0 to 4) and the person's own words: address, names, organisations.
    pub(crate) fn new(score_min: u8, own: Vec<String>) -> Self {
        let mut words: Vec<String> = Vec::new();
        for text in own {
            // As it is, and its parts: the name before the @ is guessed as well as the address.
            let text = text.to_lowercase();
            let parts = text.split(|letter: char| !letter.is_alphanumeric());
            let joined: String = text.chars().filter(|letter| letter.is_alphanumeric()).collect();
            for word in parts.chain([text.as_str(), joined.as_str()]) {
                let is_word = (WORD_LENGTH_MIN..=WORD_LENGTH_MAX).contains(&word.chars().count());
                if is_word && words.len() < WORDS_MAX && !words.iter().any(|known| known == word) {
                    words.push(word.to_owned());
                }
            }
        }
        Self { score_min, words }
    }

    /// Whether the password is strong enough.
    ///
    /// # Errors
    /// [`PasswordError::Weak`], with what to do.
    pub(crate) fn judge(&self, password: &str) -> Result<(), PasswordError> {
        let judged: String = password.chars().take(JUDGED_LENGTH_MAX).collect();
        let plain = judged.to_lowercase();
        let is_own = self.words.iter().any(|word| plain.contains(word.as_str()));
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let mut entropy = zxcvbn(&judged, &words);
        if is_own {
            // What stands between one's own words is guessed with them.
            let letters: String = judged.chars().filter(|letter| letter.is_alphanumeric()).collect();
            let joined = zxcvbn(&letters, &words);
            entropy = if joined.score() < entropy.score() { joined } else { entropy };
        }
        if u8::from(entropy.score()) >= self.score_min {
            return Ok(());
        }
        let mut advice: Vec<String> = Vec::new();
        if is_own {
            advice.push(OWN_WORD.to_owned());
        }
        if let Some(feedback) = entropy.feedback() {
            advice.extend(feedback.warning().map(|warning| warning.to_string()));
            advice.extend(feedback.suggestions().iter().map(ToString::to_string));
        }
        if advice.is_empty() {
            advice.push(BY_DEFAULT.to_owned());
        }
        Err(PasswordError::Weak { advice: advice.join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(password: &str, words: &[&str]) -> Result<(), String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Judge::new(3, words).judge(password).map_err(|error| error.to_string())
    }

    #[test]
    fn common_passwords_rows_of_keys_and_repeats_are_refused_with_advice() {
        for (password, advice) in [
            ("password", "common"),
            ("P@ssw0rd", "common"),
            ("qwertyuiop", "common"),
            ("abcdefgh", "."),
            ("aaaaaaaaaaaa", "Repeats"),
            ("19900101", "."),
            ("jennifer1990", "."),
        ] {
            let refused = judge(password, &[]).unwrap_err();
            assert!(refused.starts_with("is too easy to guess. ") && refused.contains(advice), "{password}: {refused}");
        }
    }

    #[test]
    fn words_that_have_nothing_to_do_with_each_other_are_taken_without_digits_and_signs() {
        for password in
            ["correct horse battery", "correct-horse-battery", "ünglaublich feuchter keller", "Xk7#pQ2!vB9z"]
        {
            assert_eq!(judge(password, &[]), Ok(()), "{password}");
        }
    }

    #[test]
    fn what_is_known_of_the_person_counts_for_little() {
        let own = ["zebulon.quartermain@wolfsburg-tiefbau.example", "Zebulon", "Wolfsburg Tiefbau GmbH"];
        for password in ["zebulonquartermain", "Quartermain7", "w0lfsburg-tiefbau", "zebulon.quartermain"] {
            let refused = judge(password, &own).expect_err(password);
            assert!(refused.contains("about you"), "{password}: {refused}");
        }
        assert_eq!(judge("zebulonquartermain", &[]), Ok(()), "of anybody else");
    }

    #[test]
    fn the_longest_are_judged_by_their_beginning() {
        let words: Vec<String> = (0..1000).map(|number| format!("word{number} {}", "x".repeat(1000))).collect();
        let judge = Judge::new(4, words);
        assert!(judge.words.len() <= WORDS_MAX);
        for endless in ["a".repeat(128), "4@8({[</369&#!1/|0$5+7%2".repeat(5), "ab".repeat(64), "qwerty".repeat(21)] {
            let _ = judge.judge(&endless);
        }
        assert!(judge.judge(&"a".repeat(128)).is_err());
    }
}
