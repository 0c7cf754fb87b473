package qmgr

import (
	"math"
	"time"

	"sekisho/internal/deliver"
)

// destination is a next hop of a transport, or one user there when a delivery
// takes one recipient only. How many deliveries it gets at once adapts to how it
// fares, by Postfix's formulas (SCHEDULER_README). It is forgotten when nothing
// waits for it, unless it is dead.
type destination struct {
	name string
	lane *lane

	window  int     // deliveries that may run at once
	busy    int     // deliveries that run
	success float64 // towards the next growth of window, 0 to 1
	failure float64 // towards the next decrease, 0 to 1
	cohorts float64 // failed rounds in a row
	resting bool    // between two deliveries (destination_rate_delay)
	dead    bool    // no delivery before until, or before another flush
	flush   int64   // how many there had been when it died
	until   time.Time
	why     deliver.Result // that it is dead
	todo    batches
	sharing fair
	place   int // in lane.ready, -1 when it is not there
}

// ready reports whether a delivery may begin.
func (d *destination) ready() bool {
	return len(d.todo) > 0 && d.busy < d.window && !d.resting && !d.dead
}

// idle reports whether nothing is to be remembered.
func (d *destination) idle() bool {
	return len(d.todo) == 0 && d.busy == 0 && !d.resting && !d.dead
}

// worked takes down that the destination answered (qmgr_queue_unthrottle). The
// delivery that tells so still counts as busy. The window grows by one for the
// feedback of that many deliveries, but not far beyond what is in use.
func (d *destination) worked() {
	l := &d.lane.limits
	d.cohorts = 0
	if d.dead { // a delivery that had begun before
		d.dead = false
		d.window = d.busy
		d.success, d.failure = 0, 0
		return
	}
	if l.Concurrency > 0 && d.window >= l.Concurrency || d.window >= d.busy+l.Initial {
		return
	}
	feedback := l.Positive.at(d.window)
	d.success += feedback
	for feedback > 0 && d.success+feedback/2 >= 1 {
		d.window++
		d.success--
		d.failure = 0
	}
	if l.Concurrency > 0 {
		d.window = min(d.window, l.Concurrency)
	}
}

// failed takes down that the destination as a whole did not work
// (qmgr_queue_throttle). After as many failed rounds as the transport allows it
// is dead until a time, or until somebody flushes the queue another time.
func (d *destination) failed(why deliver.Result, until time.Time, flush int64) {
	if d.dead {
		return
	}
	l := &d.lane.limits
	d.cohorts += 1 / float64(d.window)
	if l.FailedCohorts > 0 && d.cohorts >= float64(l.FailedCohorts) {
		d.dead, d.until, d.flush, d.why = true, until, flush, why
		return
	}
	feedback := l.Negative.at(d.window)
	d.failure -= feedback
	for feedback > 0 && d.failure-feedback/2 < 0 {
		d.window--
		d.success = 0
		d.failure++
	}
	d.window = max(d.window, 1)
}

// Feedback is how much one delivery changes the concurrency: Base, divided by
// the concurrency or by its square root.
type Feedback struct {
	Base float64
	Per  string // "", "concurrency" or "sqrt_concurrency"
}

func (f Feedback) at(window int) float64 {
	switch f.Per {
	case "concurrency":
		return f.Base / float64(window)
	case "sqrt_concurrency":
		return f.Base / math.Sqrt(float64(window))
	}
	return f.Base
}
