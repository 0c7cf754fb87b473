package qmgr

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/config"
)

// Limits are the parameters that a transport can have of its own
// (TRANSPORT_destination_recipient_limit and so on).
type Limits struct {
	Concurrency int // deliveries at once to one destination; 0 is no limit
	Recipients  int // recipients in one delivery; 0 is no limit
	Initial     int // deliveries at once to a destination at first

	Positive, Negative Feedback
	FailedCohorts      int // failed rounds after which a destination is dead; 0: never

	RateDelay          time.Duration // between deliveries to one destination
	TransportRateDelay time.Duration // between deliveries

	Problems []string // parameters that make no sense; their defaults are taken
}

// transportLimits returns the limits of a transport.
func transportLimits(c *config.Config, transport string) Limits {
	p := &own{cfg: c, transport: transport}
	l := Limits{
		Concurrency:        c.Int(p.name("default_destination_concurrency_limit")),
		Recipients:         c.Int(p.name("default_destination_recipient_limit")),
		Initial:            c.Int(p.named(transport+"_initial_destination_concurrency", "initial_destination_concurrency")),
		FailedCohorts:      c.Int(p.name("default_destination_concurrency_failed_cohort_limit")),
		RateDelay:          c.Duration(p.name("default_destination_rate_delay")),
		TransportRateDelay: c.Duration(p.name("default_transport_rate_delay")),
		Positive:           p.feedback("default_destination_concurrency_positive_feedback"),
		Negative:           p.feedback("default_destination_concurrency_negative_feedback"),
	}
	if l.RateDelay > 0 {
		l.Concurrency = 1
	}
	l.Problems = p.problems
	l.Initial = max(l.Initial, 1)
	if l.Concurrency > 0 {
		l.Initial = min(l.Initial, l.Concurrency)
	}
	return l
}

// own finds the parameters of a transport.
type own struct {
	cfg       *config.Config
	transport string
	problems  []string
}

// name returns the transport's own parameter in place of one for all transports
// (default_...), if it is set.
func (p *own) name(general string) string {
	return p.named(p.transport+strings.TrimPrefix(general, "default"), general)
}

func (p *own) named(name, otherwise string) string {
	if p.cfg.Set(name) || builtIn[name] {
		return name
	}
	return otherwise
}

// builtIn are the transport limits that have defaults of their own.
var builtIn = map[string]bool{
	"local_destination_concurrency_limit": true,
	"local_destination_recipient_limit":   true,
}

func (p *own) feedback(general string) Feedback {
	name := p.name(general)
	f, err := parseFeedback(p.cfg.Str(name))
	if err != nil {
		p.problems = append(p.problems, fmt.Sprintf("%s: %v", name, err))
	}
	return f
}

// parseFeedback reads "number", "number / number", "number / concurrency" or
// "number / sqrt_concurrency", in all a number from 0 to 1.
func parseFeedback(text string) (Feedback, error) {
	number, per, divided := strings.Cut(text, "/")
	base, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	f := Feedback{Base: base}
	switch per = strings.TrimSpace(per); {
	case err != nil || !divided:
	case per == "concurrency" || per == "sqrt_concurrency":
		f.Per = per
	default:
		var divisor float64
		divisor, err = strconv.ParseFloat(per, 64)
		f.Base /= divisor
	}
	if err != nil || !(f.Base >= 0 && f.Base <= 1) {
		return Feedback{Base: 1}, fmt.Errorf("ignoring malformed or unreasonable feedback: %s", text)
	}
	return f, nil
}
