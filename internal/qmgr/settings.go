package qmgr

import (
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
	DelayDigits                        int           // of logged delays
	NegativeCache                      bool          // address_verify_negative_cache, for the log
	ProbeLimit                         int           // address probes being delivered
	RecipientLimit                     int           // recipients being worked on at once
	TransportRetry                     time.Duration // between attempts with a transport that does not work
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
		RecipientLimit:       c.Int("qmgr_message_recipient_limit"),
		TransportRetry:       c.Duration("transport_retry_time"),
		Limits:               func(transport string) Limits { return transportLimits(c, transport) },
	}
}
