package cleanup

import (
	"slices"
	"strings"
	"testing"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// The probe of an alias for several addresses is answered here; for one address
// it goes on to that. A probe is never copied to anybody.
func TestProbes(t *testing.T) {
	const mainCf = "virtual_alias_maps = va\nalways_bcc = archive@example.com\nrecipient_bcc_maps = rb\nsender_bcc_maps = rb\n"
	for to, want := range map[string]struct {
		recipients []string
		verified   []string
	}{
		"team@d.test": {nil, []string{"team@d.test (team@d.test): sent, aliased to multiple recipients"}},
		"Team@d.test": {nil, []string{"Team@d.test (Team@d.test): sent, aliased to multiple recipients"}},
		"one@d.test":  {[]string{"one@d.test>a@example.com"}, nil},
		"x@y.test":    {[]string{"x@y.test>x@y.test"}, nil},
	} {
		s := newSite(t, mainCf, map[string]map[string]string{
			"va": {"team@d.test": "a@example.com, b@example.com", "one@d.test": "a@example.com"},
			"rb": {"x@y.test": "copy@example.com", "probe@example.com": "copy@example.com"},
		})
		env := mail.Envelope{QueueID: s.q.NewID(), Sender: "probe", Recipients: []mail.Recipient{{Address: to, Original: to}}, Probe: true}
		m, err := s.c.Begin(t.Context(), env, &mail.Facts{}, evidence.SourceFunc(s.Ask))
		if err != nil {
			t.Fatal(err)
		}
		res, got := s.finish(m, "Date: x")
		if got == nil || !res.Reply.IsZero() || !got.env.Probe || got.env.Sender != "probe@example.com" ||
			!slices.Equal(recipients(got.env), want.recipients) || !slices.Equal(s.verified, want.verified) {
			t.Errorf("%s: %v, queued %+v, answered %q", to, res.Reply, got, s.verified)
		}
		line := env.QueueID + ": to=<" + to + ">, relay=none, delay="
		said := slices.ContainsFunc(s.logged(), func(l string) bool {
			return strings.HasPrefix(l, line) && strings.HasSuffix(l, ", dsn=2.0.0, status=deliverable (aliased to multiple recipients)")
		})
		if said != (want.verified != nil) {
			t.Errorf("%s: the log does not fit", to)
		}
	}
}
