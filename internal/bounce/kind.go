package bounce

// kind is one sort of notification.
type kind struct {
	name     string // in the log
	action   string // RFC 3464 section 2.3.3; empty: the result says
	template func(*Templates) *template
}

var failure = &kind{"non-delivery", "failed", func(t *Templates) *template { return &t.failure }}

var delay = &kind{"delay", "delayed", func(t *Templates) *template { return &t.delay }}

var success = &kind{"delivery status", "", func(t *Templates) *template { return &t.success }}
