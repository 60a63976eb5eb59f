//! When a subscriber's lagging is told, and with what counts.
//!
//! Owned by the dispatcher, one for each subscriber. An episode begins with the first batch that loses events and ends with
//! the first that loses none. Each is told with two lines, but no two episodes that began within [`PAUSE`]: what is left out
//! is counted and told with the next line. So every lost event is in exactly one line that tells an end or what was left
//! out, and a subscriber that lags and recovers a thousand times a second makes two lines of it.

use std::time::{Duration, Instant};

/// The least time between the beginnings of two episodes that are told.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Lag {
    /// The one that goes on.
    episode: Option<Episode>,
    /// When the last beginning was told.
    told_at: Option<Instant>,
    left_out: LeftOut,
}

#[derive(Default)]
struct Episode {
    lost: u64,
    told: bool,
}

/// Episodes that were not told, and what was lost in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) episodes: u64,
    pub(super) lost: u64,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// `lost` so far in this episode.
    Begins { lost: u64, left_out: LeftOut },
    /// `lost` in all of the episode.
    Ends { lost: u64, left_out: LeftOut },
}

impl Lag {
    /// Takes a batch to the account. The clock is read only if events were lost and the episode is not told yet.
    pub(super) fn batch(&mut self, queued: u64, lost: u64, clock: impl FnOnce() -> Instant) -> Option<Line> {
        if lost > 0 {
            let episode = self.episode.get_or_insert_default();
            episode.lost += lost;
            if episode.told {
                return None;
            }
            let now = clock();
            if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
                return None;
            }
            episode.told = true;
            self.told_at = Some(now);
            let left_out = std::mem::take(&mut self.left_out);
            return Some(Line::Begins {
                lost: episode.lost,
                left_out,
            });
        }
        if queued == 0 {
            return None;
        }
        let episode = self.episode.take()?;
        if episode.told {
            return Some(self.ends(episode));
        }
        self.left_out.episodes += 1;
        self.left_out.lost += episode.lost;
        None
    }

    /// The subscription is over, and these are lost with it: what has not been told yet.
    pub(super) fn finish(&mut self, lost: u64) -> Option<Line> {
        if self.episode.is_none() && self.left_out.episodes == 0 && lost == 0 {
            return None;
        }
        let mut episode = self.episode.take().unwrap_or_default();
        episode.lost += lost;
        Some(self.ends(episode))
    }

    fn ends(&mut self, episode: Episode) -> Line {
        Line::Ends {
            lost: episode.lost,
            left_out: std::mem::take(&mut self.left_out),
        }
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;

    fn none() -> LeftOut {
        LeftOut::default()
    }

    fn unread() -> Instant {
        panic!("the clock is read")
    }

    #[test]
    fn an_episode_is_told_as_it_begins_and_as_it_ends() {
        let mut lag = Lag::default();
        assert_eq!(lag.batch(64, 0, unread), None);
        let begins = Line::Begins {
            lost: 3,
            left_out: none(),
        };
        assert_eq!(lag.batch(1, 3, Instant::now), Some(begins));
        assert_eq!(lag.batch(0, 5, unread), None);
        assert_eq!(
            lag.batch(0, 0, unread),
            None,
            "nothing was queued, so there may be no room yet"
        );
        assert_eq!(
            lag.batch(1, 0, unread),
            Some(Line::Ends {
                lost: 8,
                left_out: none()
            })
        );
        assert_eq!(lag.batch(1, 0, unread), None);
        assert_eq!(lag.finish(0), None);
    }

    #[test]
    fn episodes_in_quick_succession_are_counted_and_told_later() {
        let start = Instant::now();
        let mut lag = Lag::default();
        assert!(lag.batch(0, 1, || start).is_some());
        assert!(lag.batch(1, 0, unread).is_some());
        for n in 1..=100 {
            assert_eq!(lag.batch(0, n, || start + PAUSE / 2), None);
            assert_eq!(lag.batch(1, 0, unread), None);
        }
        let left_out = LeftOut {
            episodes: 100,
            lost: 5050,
        };
        assert_eq!(
            lag.batch(0, 7, || start + PAUSE),
            Some(Line::Begins { lost: 7, left_out })
        );
        assert_eq!(
            lag.batch(1, 0, unread),
            Some(Line::Ends {
                lost: 7,
                left_out: none()
            })
        );
    }

    #[test]
    fn an_episode_that_begins_too_early_is_told_once_it_has_lasted() {
        let start = Instant::now();
        let mut lag = Lag::default();
        lag.batch(0, 1, || start);
        lag.batch(1, 0, unread);
        assert_eq!(lag.batch(0, 2, || start), None);
        let begins = Line::Begins {
            lost: 5,
            left_out: none(),
        };
        assert_eq!(lag.batch(0, 3, || start + PAUSE), Some(begins));
    }

    #[test]
    fn the_end_of_the_subscription_tells_the_rest() {
        let start = Instant::now();
        let mut lag = Lag::default();
        lag.batch(0, 1, || start);
        assert_eq!(
            lag.finish(0),
            Some(Line::Ends {
                lost: 1,
                left_out: none()
            })
        );

        lag.batch(0, 2, || start);
        lag.batch(1, 0, unread);
        lag.batch(0, 4, || start);
        let left_out = LeftOut { episodes: 1, lost: 2 };
        assert_eq!(lag.finish(0), Some(Line::Ends { lost: 4, left_out }));
        assert_eq!(lag.finish(0), None);
    }
}
