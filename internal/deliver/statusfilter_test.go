package deliver

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestStatusFilter(t *testing.T) {
	table := map[string]string{
		"4.7.5 no TLS":   "5.7.5 TLS it must be",
		"5.1.1 nobody":   "4.1.1  try again",
		"2.0.0 ok":       "2.1.5 fine",
		"2.0.0 sent":     "5.0.0 not so",
		"5.0.0 nonsense": "words",
	}
	for in, want := range map[string]struct {
		status Status
		text   string
		log    string
	}{
		"4.7.5 no TLS":   {Bounced, "5.7.5 TLS it must be", ""},
		"5.1.1 nobody":   {Deferred, "4.1.1 try again", ""},
		"2.0.0 ok":       {Sent, "2.1.5 fine", ""},
		"2.0.0 sent":     {Sent, "2.0.0 sent", "x_filter: bad status code: 5.0.0 not so"},
		"5.0.0 nonsense": {Bounced, "5.0.0 nonsense", "x_filter: bad status code: words"},
		"5.0.0 other":    {Bounced, "5.0.0 other", ""},
		"4.0.0 broken":   {Deferred, "4.0.0 broken", "x_filter lookup error: down"},
	} {
		var log bytes.Buffer
		f := StatusFilter{Param: "x_filter", Tables: []string{"t"}, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Lookup: func(_, key string) (string, bool, error) {
				if strings.HasSuffix(key, "broken") {
					return "", false, errors.New("down")
				}
				v, ok := table[key]
				return v, ok, nil
			}}
		dsn, text, _ := strings.Cut(in, " ")
		r := &Result{DSN: dsn, Text: text, Status: map[byte]Status{'2': Sent, '4': Deferred, '5': Bounced}[in[0]]}
		f.Edit(r)
		if got := r.DSN + " " + r.Text; got != want.text || r.Status != want.status {
			t.Errorf("%s: %s %s, want %s %s", in, r.Status, got, want.status, want.text)
		}
		if !strings.Contains(log.String(), want.log) || want.log == "" && log.Len() > 0 {
			t.Errorf("%s: log %s, want %s", in, &log, want.log)
		}
	}
}
