package master

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/verify"
)

// openProbed opens what address verification has learned.
func openProbed(cfg *config.Config, log *slog.Logger) *verify.Cache {
	cfg = view(cfg, "verify")
	log = log.With(maillog.Service(cfg.Str("syslog_name") + "/verify"))
	path, err := verify.Path(cfg.Str("address_verify_map"), cfg.Str("default_database_type"))
	if err != nil {
		log.Warn(fmt.Sprintf("%s: address_verify_map: %v; it is kept in memory", cfg.Pos("address_verify_map"), err))
	}
	return verify.NewCache(path, log)
}

// newVerifier makes address verification.
func (b *builder) newVerifier() *verify.Verifier {
	cfg := view(b.config, "verify")
	log := b.log.With(maillog.Service(cfg.Str("syslog_name") + "/verify"))
	return verify.New(verify.Options{
		Settings: verify.FromConfig(cfg), Sender: verify.SenderFromConfig(cfg, b.site.Resolver.Rewrite), Cache: b.shared.probed,
		Post: b.postProbe, Clock: b.shared.clock, Log: log,
	})
}

// postProbe is a verify.Post: a probe is a message with no more than what every
// message has, from cleanup on the same way as mail.
func (b *builder) postProbe(ctx context.Context, sender, recipient string) error {
	cfg := view(b.config, "verify")
	date := mail.Date(b.shared.clock.Now().Local())
	env := mail.Envelope{
		Sender: sender, Recipients: []mail.Recipient{{Address: recipient, Original: recipient}}, Probe: true,
		SMTPUTF8: !isASCII(recipient) && cfg.Bool("smtputf8_enable") && detectsUTF8(cfg),
	}
	return b.post(ctx, env, func(id string, w io.Writer) error {
		_, err := fmt.Fprintf(w, "Received: by %s (%s)\n\tid %s; %s\nDate: %s\n", cfg.Str("myhostname"), cfg.Str("mail_name"), id, date, date)
		return err
	})
}

// detectsUTF8 reports whether a probe's address decides about SMTPUTF8.
func detectsUTF8(cfg *config.Config) bool {
	classes := cfg.Strings("smtputf8_autodetect_classes")
	return slices.Contains(classes, "all") || slices.Contains(classes, "verify")
}

func isASCII(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c >= 0x80 })
}

// verified takes the outcome of a probe to address verification, under the
// address that was asked for and, like Postfix, under the one it stands for.
func (b *builder) verified(original, address string, r deliver.Result) {
	status := map[deliver.Status]verify.Status{
		deliver.Sent: verify.Deliverable, deliver.Deferred: verify.Deferred, deliver.Bounced: verify.Undeliverable,
	}[r.Status]
	b.verifier.Update(original, status, r.Text)
	if address != original {
		b.verifier.Update(address, status, r.Text)
	}
}

// verification is how the sessions of a service ask about addresses.
func (b *builder) verification(cfg *config.Config) func(context.Context, string) (string, string) {
	count, delay := cfg.Int("address_verify_poll_count"), cfg.Duration("address_verify_poll_delay")
	return func(ctx context.Context, addr string) (outcome, reason string) {
		e := b.verifier.Poll(ctx, addr, count, delay)
		return e.Status.String(), e.Text
	}
}
