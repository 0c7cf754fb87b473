package deliver

import (
	"context"
	"log/slog"
	"strings"

	"sekisho/internal/mail"
)

// StatusFilter edits what came of deliveries by tables that know them as "DSN
// text": default_delivery_status_filter and its like for each agent. The zero
// StatusFilter changes nothing. It is safe for concurrent use.
type StatusFilter struct {
	Param  string // the parameter's name, for log lines
	Tables []string
	Lookup func(table, key string) (value string, found bool, err error)
	Log    *slog.Logger
}

// Edit changes r as the tables say. A success stays one, and a failure may
// become temporary or permanent. A table that fails changes nothing.
func (f StatusFilter) Edit(r *Result) {
	for _, table := range f.Tables {
		value, found, err := f.Lookup(table, r.DSN+" "+r.Text)
		if err != nil {
			f.Log.Warn(f.Param + " lookup error: " + err.Error())
			return
		}
		if !found {
			continue
		}
		word, text, _ := strings.Cut(strings.TrimSpace(value), " ")
		if !mail.IsStatus(word) || (word[0] == '2') != (r.DSN[0] == '2') {
			f.Log.Warn(f.Param + ": bad status code: " + value)
			return
		}
		r.DSN, r.Text = word, strings.TrimLeft(text, " ")
		switch word[0] {
		case '4':
			r.Status = Deferred
		case '5':
			r.Status = Bounced
		}
		return
	}
}

// Filtered is an agent whose results are edited.
type Filtered struct {
	Agent
	StatusFilter
}

// Deliver delivers and edits what came of it.
func (f Filtered) Deliver(ctx context.Context, r *Request) []Result {
	results := f.Agent.Deliver(ctx, r)
	for i := range results {
		f.Edit(&results[i])
	}
	return results
}
