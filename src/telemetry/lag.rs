//! The log lines about a lagging subscriber: when each is written, and with which counts.
//!
//! The dispatcher owns one [`Lag`] for each subscriber. A lagging episode begins with the first batch that loses events
//! and ends with the first batch that queues events and loses none. A reported episode produces two lines. At least
//! [`PAUSE`] lies between the first lines of two reported episodes. The other episodes are suppressed, and the next
//! line reports their number and their losses. So each lost event counts exactly once: in the line that ends its
//! episode, or among the suppressed losses. A subscriber that lags and recovers a thousand times per second produces
//! two lines per second.

use std::time::{Duration, Instant};

/// Minimum time between the first lines of two reported episodes.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The lagging of one subscriber.
#[derive(Default)]
pub(super) struct Lag {
    /// The current episode.
    episode: Option<Episode>,
    /// Time of the last line that reported the beginning of an episode.
    reported_at: Option<Instant>,
    left_out: LeftOut,
}

#[derive(Default)]
struct Episode {
    lost: u64,
    reported: bool,
}

/// Number of suppressed episodes, and number of events lost in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) episodes: u64,
    pub(super) lost: u64,
}

/// A line to log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LagReport {
    /// An episode has begun. `lost` counts the losses of the episode until now.
    Begins { lost: u64, left_out: LeftOut },
    /// An episode has ended. `lost` counts all losses of the episode.
    Ends { lost: u64, left_out: LeftOut },
}

impl Lag {
    /// Records a batch and returns the line to log, if any. It reads the clock only if the batch lost events and the
    /// episode is not yet reported.
    pub(super) fn batch(&mut self, queued: u64, lost: u64, clock: impl FnOnce() -> Instant) -> Option<LagReport> {
        if lost > 0 {
            let episode = self.episode.get_or_insert_default();
            episode.lost += lost;
            if episode.reported {
                return None;
            }
            let now = clock();
            if self
                .reported_at
                .is_some_and(|at| now.saturating_duration_since(at) < PAUSE)
            {
                return None;
            }
            episode.reported = true;
            self.reported_at = Some(now);
            let left_out = std::mem::take(&mut self.left_out);
            return Some(LagReport::Begins {
                lost: episode.lost,
                left_out,
            });
        }
        if queued == 0 {
            return None;
        }
        let episode = self.episode.take()?;
        if episode.reported {
            return Some(self.ends(episode));
        }
        self.left_out.episodes += 1;
        self.left_out.lost += episode.lost;
        None
    }

    /// Returns the last line of a subscription that has ended, if any loss is not yet reported. `lost` is the number of
    /// events lost because of the end.
    pub(super) fn finish(&mut self, lost: u64) -> Option<LagReport> {
        if self.episode.is_none() && self.left_out.episodes == 0 && lost == 0 {
            return None;
        }
        let mut episode = self.episode.take().unwrap_or_default();
        episode.lost += lost;
        Some(self.ends(episode))
    }

    fn ends(&mut self, episode: Episode) -> LagReport {
        LagReport::Ends {
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
        panic!("the clock must not be read")
    }

    #[test]
    fn an_episode_is_reported_at_its_beginning_and_at_its_end() {
        let mut lag = Lag::default();
        assert_eq!(lag.batch(64, 0, unread), None);
        let begins = LagReport::Begins {
            lost: 3,
            left_out: none(),
        };
        assert_eq!(lag.batch(1, 3, Instant::now), Some(begins));
        assert_eq!(lag.batch(0, 5, unread), None);
        assert_eq!(
            lag.batch(0, 0, unread),
            None,
            "no event was queued, so the queue may still be full"
        );
        assert_eq!(
            lag.batch(1, 0, unread),
            Some(LagReport::Ends {
                lost: 8,
                left_out: none()
            })
        );
        assert_eq!(lag.batch(1, 0, unread), None);
        assert_eq!(lag.finish(0), None);
    }

    #[test]
    fn episodes_in_quick_succession_are_suppressed_and_counted_in_a_later_line() {
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
            Some(LagReport::Begins { lost: 7, left_out })
        );
        assert_eq!(
            lag.batch(1, 0, unread),
            Some(LagReport::Ends {
                lost: 7,
                left_out: none()
            })
        );
    }

    #[test]
    fn a_suppressed_episode_is_reported_if_it_outlasts_the_pause() {
        let start = Instant::now();
        let mut lag = Lag::default();
        lag.batch(0, 1, || start);
        lag.batch(1, 0, unread);
        assert_eq!(lag.batch(0, 2, || start), None);
        let begins = LagReport::Begins {
            lost: 5,
            left_out: none(),
        };
        assert_eq!(lag.batch(0, 3, || start + PAUSE), Some(begins));
    }

    #[test]
    fn the_end_of_the_subscription_reports_the_remaining_losses() {
        let start = Instant::now();
        let mut lag = Lag::default();
        lag.batch(0, 1, || start);
        assert_eq!(
            lag.finish(0),
            Some(LagReport::Ends {
                lost: 1,
                left_out: none()
            })
        );

        lag.batch(0, 2, || start);
        lag.batch(1, 0, unread);
        lag.batch(0, 4, || start);
        let left_out = LeftOut { episodes: 1, lost: 2 };
        assert_eq!(lag.finish(0), Some(LagReport::Ends { lost: 4, left_out }));
        assert_eq!(lag.finish(0), None);
    }
}
