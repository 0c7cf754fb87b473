package qmgr

import (
	"sync"
	"time"

	"sekisho/internal/config"
)

// Settings are the parameters of the queue manager.
type Settings struct {
	ActiveLimit                        int // messages being delivered at once
	MinimalBackoff, MaximalBackoff     time.Duration
	QueueLifetime, BounceQueueLifetime time.Duration
	DelayWarning                       time.Duration // 0: never warn
	ConfirmDelay                       bool          // tell the sender when a delay he knows of is over
	DeferTransports                    []string
	SoftBounce                         bool
	DoubleBounceSender                 string // local part
	Myhostname                         string
	DefaultFilterNexthop               string
	RecipientDelimiter                 string
	DelayDigits                        int  // of logged delays
	NegativeCache                      bool // address_verify_negative_cache, for the log
	ProbeLimit                         int  // address probes being delivered
	// Limits returns the limits of a transport.
	Limits func(transport string) Limits
}

// FromConfig returns the settings of a configuration.
func FromConfig(c *config.Config) Settings {
	return Settings{
		ActiveLimit:          c.Int("qmgr_message_active_limit"),
		MinimalBackoff:       c.Duration("minimal_backoff_time"),
		MaximalBackoff:       c.Duration("maximal_backoff_time"),
		QueueLifetime:        c.Duration("maximal_queue_lifetime"),
		BounceQueueLifetime:  c.Duration("bounce_queue_lifetime"),
		DelayWarning:         c.Duration("delay_warning_time"),
		ConfirmDelay:         c.Bool("confirm_delay_cleared"),
		DeferTransports:      c.Strings("defer_transports"),
		SoftBounce:           c.Bool("soft_bounce"),
		DoubleBounceSender:   c.Str("double_bounce_sender"),
		Myhostname:           c.Str("myhostname"),
		DefaultFilterNexthop: c.Str("default_filter_nexthop"),
		RecipientDelimiter:   c.Str("recipient_delimiter"),
		DelayDigits:          c.Int("delay_logging_resolution_limit"),
		NegativeCache:        c.Bool("address_verify_negative_cache"),
		ProbeLimit:           c.Int("address_verify_pending_request_limit"),
		Limits:               remembered(func(transport string) Limits { return limits(c, transport) }),
	}
}

// remembered asks once for each transport: there are few, and each message asks.
func remembered(ask func(transport string) Limits) func(string) Limits {
	var known sync.Map
	return func(transport string) Limits {
		if l, ok := known.Load(transport); ok {
			return l.(Limits)
		}
		l := ask(transport)
		known.Store(transport, l)
		return l
	}
}

func limits(c *config.Config, transport string) Limits {
	return Limits{
		Concurrency: limit(c, transport, "concurrency"),
		Recipients:  limit(c, transport, "recipient"),
	}
}

// limit is TRANSPORT_destination_KIND_limit, or the default for all transports.
func limit(c *config.Config, transport, kind string) int {
	suffix := "_destination_" + kind + "_limit"
	if c.Set(transport+suffix) || builtIn[transport+suffix] {
		return c.Int(transport + suffix)
	}
	return c.Int("default" + suffix)
}

// builtIn are the transport limits that have defaults of their own.
var builtIn = map[string]bool{
	"local_destination_concurrency_limit": true,
	"local_destination_recipient_limit":   true,
}
