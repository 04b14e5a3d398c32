//! Turns of tasks: who has much to do holds up nobody who has little.
//!
//! Law: a task that has worked through [`FULL`] bytes in a turn ends it, and has its next one in a
//! lane, in which there is one at a time (on many processors, one for each but one). After a full
//! turn the next comes only after everybody who was waiting outside has had his. So whoever has
//! little to do waits for one such turn, and not for one of each who has much. Whoever says that his
//! next turn can wait has it there, too.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::num::NonZero;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::thread::available_parallelism;

use pin_project_lite::pin_project;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

/// So many bytes make a full turn: some tens of microseconds.
pub const FULL: usize = 64 * 1024;

/// Where full turns are had, in the order in which they are asked for.
#[derive(Debug)]
pub struct Lane(LazyLock<Semaphore>);

/// Of whoever has much to do.
pub static BULK: Lane = Lane::new();

/// Of connections that can wait: whose handshake comes in many pieces or not in time, or who are answered.
pub static CAN_WAIT: Lane = Lane::new();

type Permit = SemaphorePermit<'static>;
type Wait = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

impl Lane {
    const fn new() -> Self {
        Self::of(|| {
            let processors = available_parallelism().map_or(1, NonZero::get);
            Semaphore::new(processors.saturating_sub(1).max(1))
        })
    }

    const fn of(room: fn() -> Semaphore) -> Self {
        Self(LazyLock::new(room))
    }

    fn wait(&'static self) -> Wait {
        // It is never closed.
        Box::pin(async { self.0.acquire().await.ok() })
    }
}

thread_local! {
    /// Bytes of the turn that is being had. None: of no task of ours.
    static WORK: Cell<Option<usize>> = const { Cell::new(None) };
    /// Whether whatever its task is woken for next can wait.
    static NEXT_CAN_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Says that so many bytes were worked through in this turn.
pub fn worked(bytes: usize) {
    WORK.set(WORK.get().map(|work| work.saturating_add(bytes)));
}

/// Whether this turn should end. Never outside [`Turns`].
#[must_use]
pub fn is_full() -> bool {
    WORK.get().is_some_and(|work| work >= FULL)
}

/// Ends this turn if it should.
pub async fn end_if_full() {
    if is_full() {
        let mut has_ended = false;
        poll_fn(|_context| match std::mem::replace(&mut has_ended, true) {
            true => Poll::Ready(()),
            // Its `Turns` has it go on.
            false => Poll::Pending,
        })
        .await;
    }
}

/// Ends this turn, and has the next in the lane: what follows can wait.
pub async fn can_wait() {
    worked(FULL);
    end_if_full().await;
}

/// Says that the next turn, whenever there is something to do again, can wait: it is had in the lane.
/// Outside of [`Turns`] it says nothing.
pub fn next_can_wait() {
    NEXT_CAN_WAIT.set(true);
}

/// Ends a turn in which there is more to do at once, so that others come first.
pub fn later<T>(context: &mut Context<'_>) -> Poll<T> {
    // Else its `Turns` has it go on.
    if !is_full() {
        context.waker().wake_by_ref();
    }
    Poll::Pending
}

pin_project! {
    /// A task that has those of its turns in a lane that follow a full one, or can wait.
    pub struct Turns<F> {
        lane: &'static Lane,
        is_next_there: bool,
        wait: Option<Wait>,
        // Of a full turn, until it is followed by another.
        held: Option<Permit>,
        #[pin]
        future: F,
    }
}

impl<F> Turns<F> {
    /// A task whose first turn is like anybody's.
    pub fn after_full(lane: &'static Lane, future: F) -> Self {
        Self { lane, is_next_there: false, wait: None, held: None, future }
    }
}

impl<F: Future> Future for Turns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let (lane, wait) = (*this.lane, this.wait);
        *this.held = None;
        let permit = if *this.is_next_there {
            let permit = ready!(wait.get_or_insert_with(|| lane.wait()).as_mut().poll(context));
            *wait = None;
            permit
        } else {
            None
        };
        WORK.set(Some(0));
        NEXT_CAN_WAIT.set(false);
        let polled = this.future.poll(context);
        let was_full = is_full();
        *this.is_next_there = was_full || NEXT_CAN_WAIT.get();
        WORK.set(None);
        if was_full && polled.is_pending() {
            // It is woken after all others that are waiting now, and after the driver has been asked for
            // what has come meanwhile.
            *this.held = permit;
            let _pending = pin!(yield_now()).poll(context);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const MANY: usize = 50;

    /// Has full turns without end, and counts them.
    async fn labour(turns: Arc<AtomicUsize>) {
        loop {
            turns.fetch_add(1, Ordering::Relaxed);
            can_wait().await;
        }
    }

    /// How many such turns there are while two others exchange a word a hundred times.
    async fn turns_meanwhile(turns: Arc<AtomicUsize>) -> usize {
        // The first turns are like anybody's.
        while turns.load(Ordering::Relaxed) < 2 * MANY {
            yield_now().await;
        }
        let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (pinged, ponged) = (Arc::clone(&ping), Arc::clone(&pong));
        tokio::spawn(async move {
            loop {
                pinged.notified().await;
                ponged.notify_one();
            }
        });
        let exchange = tokio::spawn(async move {
            let before = turns.load(Ordering::Relaxed);
            for _ in 0..100 {
                ping.notify_one();
                pong.notified().await;
            }
            turns.load(Ordering::Relaxed) - before
        });
        exchange.await.expect("it ends")
    }

    #[tokio::test]
    async fn whoever_has_little_to_do_waits_for_one_of_those_who_have_much() {
        static LANE: Lane = Lane::of(|| Semaphore::new(1));
        let turns = Arc::<AtomicUsize>::default();
        for _ in 0..MANY {
            tokio::spawn(Turns::after_full(&LANE, labour(Arc::clone(&turns))));
        }
        let between = turns_meanwhile(turns).await;
        assert!((1..=100).contains(&between), "{between} full turns beside 200 others");
    }

    #[tokio::test]
    async fn those_who_have_much_have_their_turns_one_after_the_other() {
        static LANE: Lane = Lane::of(|| Semaphore::new(1));
        let all: Vec<Arc<AtomicUsize>> = (0..MANY).map(|_| Arc::default()).collect();
        for turns in &all {
            tokio::spawn(Turns::after_full(&LANE, labour(Arc::clone(turns))));
        }
        while all[0].load(Ordering::Relaxed) < 100 {
            yield_now().await;
        }
        for turns in &all {
            assert!((98..=102).contains(&turns.load(Ordering::Relaxed)), "{all:?}");
        }
    }

    #[tokio::test]
    async fn whoever_ends_while_he_waits_holds_up_nobody() {
        static LANE: Lane = Lane::of(|| Semaphore::new(1));
        let turns = Arc::<AtomicUsize>::default();
        let mut tasks: Vec<_> = (0..MANY)
            .map(|_| tokio::spawn(Turns::after_full(&LANE, labour(Arc::clone(&turns)))))
            .collect();
        let last = tasks.pop();
        while turns.load(Ordering::Relaxed) < 2 * MANY {
            yield_now().await;
        }
        for task in tasks {
            task.abort();
        }
        let before = turns.load(Ordering::Relaxed);
        while turns.load(Ordering::Relaxed) < before + 100 {
            yield_now().await;
        }
        assert!(last.is_some_and(|last| !last.is_finished()));
    }

    #[tokio::test]
    async fn what_can_wait_is_had_when_the_lane_is_free_and_only_that() {
        static LANE: Lane = Lane::of(|| Semaphore::new(1));
        let held = LANE.wait().await;
        let (go, gone) = (Arc::new(Notify::new()), Arc::<AtomicUsize>::default());
        let (goes, counts) = (Arc::clone(&go), Arc::clone(&gone));
        let task = tokio::spawn(Turns::after_full(&LANE, async move {
            for can_wait in [false, true, false] {
                if can_wait {
                    next_can_wait();
                }
                goes.notified().await;
                counts.fetch_add(1, Ordering::Relaxed);
            }
        }));
        // Current-thread: after so many turns of ours he has had all that he can have.
        let settle = async || {
            for _ in 0..10 {
                yield_now().await;
            }
        };
        for had in [1, 1] {
            settle().await;
            go.notify_one();
            settle().await;
            assert_eq!(gone.load(Ordering::Relaxed), had);
        }
        drop(held);
        settle().await;
        assert_eq!(gone.load(Ordering::Relaxed), 2);
        let _held = LANE.wait().await;
        go.notify_one();
        task.await.expect("its last turn cannot wait");
    }

    #[tokio::test]
    async fn a_turn_that_is_not_full_is_had_at_once_though_the_lane_is_taken() {
        static LANE: Lane = Lane::of(|| Semaphore::new(1));
        let _held = LANE.wait().await;
        tokio::spawn(Turns::after_full(&LANE, async { worked(FULL - 1) })).await.expect("it ends");
    }

    #[test]
    fn outside_of_turns_nothing_is_counted() {
        worked(FULL);
        assert!(!is_full());
    }
}
