package queuectl

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/queue/control"
)

// lister prints a list.
type lister interface {
	message(m control.Message)
	end()
}

func (e *Env) lister(out io.Writer, asJSON bool) lister {
	switch {
	case asJSON:
		return jsonLister{json.NewEncoder(out)}
	case term.IsTerminal(int(e.Out.Fd())):
		return &table{out: out, now: e.Clock.Now(), colour: os.Getenv("NO_COLOR") == ""}
	}
	return lines{out}
}

type jsonLister struct{ *json.Encoder }

func (l jsonLister) message(m control.Message) { _ = l.Encode(m) } // the error comes with Flush
func (l jsonLister) end()                      {}

// lines prints a line for each recipient that waits: id, queue, arrival, size,
// next try, sender, recipient, reason, with tabs between.
type lines struct{ out io.Writer }

func (l lines) message(m control.Message) {
	for i, p := range m.Progress {
		if p.Done {
			continue
		}
		next := m.Due.UTC().Format(time.RFC3339)
		if m.State == control.Held || m.State == control.Active {
			next = "-"
		}
		fmt.Fprintf(l.out, "%s\t%s\t%s\t%d\t%s\t<%s>\t<%s>\t%s\n", m.Envelope.QueueID, m.State, m.Envelope.Arrived.UTC().Format(time.RFC3339),
			m.Envelope.Size, next, mail.Quote(m.Envelope.Sender), mail.Quote(m.Envelope.Recipients[i].Address), printable(reason(p)))
	}
}

func (l lines) end() {}

// table prints for people.
type table struct {
	out    io.Writer
	now    time.Time
	colour bool
	n      int
	size   int64
}

func (t *table) message(m control.Message) {
	if t.n == 0 {
		fmt.Fprintf(t.out, "%-11s %-9s %6s %9s  %-12s %s\n", "ID", "QUEUE", "AGE", "SIZE", "NEXT TRY", "SENDER, RECIPIENTS")
	}
	t.n++
	t.size += m.Envelope.Size
	fmt.Fprintf(t.out, "%-11s %s %6s %9d  %-12s <%s>\n", m.Envelope.QueueID, t.paint(m.State, fmt.Sprintf("%-9s", m.State)),
		age(t.now.Sub(m.Envelope.Arrived)), m.Envelope.Size, next(m, t.now), mail.Quote(m.Envelope.Sender))
	last := ""
	for i, p := range m.Progress {
		if p.Done {
			continue
		}
		if r := printable(reason(p)); r != last {
			last = r
			if r != "" {
				fmt.Fprintf(t.out, "%14s%s\n", "", t.dim(r))
			}
		}
		fmt.Fprintf(t.out, "%14s→ <%s>\n", "", mail.Quote(m.Envelope.Recipients[i].Address))
	}
}

func (t *table) end() {
	if t.n == 0 {
		fmt.Fprintln(t.out, "The queue is empty.")
		return
	}
	fmt.Fprintf(t.out, "%d messages, %d KiB\n", t.n, (t.size+1023)/1024)
}

func (t *table) paint(s control.State, text string) string {
	colour := map[control.State]string{control.Active: "32", control.Incoming: "36", control.Deferred: "33", control.Held: "35"}[s]
	if !t.colour || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (t *table) dim(text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[2m" + text + "\x1b[0m"
}

// next says when a message is tried next.
func next(m control.Message, now time.Time) string {
	switch m.State {
	case control.Active:
		return "now"
	case control.Held:
		return "never"
	}
	if d := m.Due.Sub(now); d > 0 {
		return "in " + age(d)
	}
	return "soon"
}

// age is a duration in its largest unit or two.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// show prints all that is known of a message.
func (e *Env) show(m control.Message) error {
	now := e.Clock.Now()
	env := &m.Envelope
	var b strings.Builder
	line := func(name, format string, args ...any) {
		if name != "" {
			name += ":"
		}
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("id", "%s", env.QueueID)
	line("queue", "%s", m.State)
	line("arrived", "%s, %s ago", env.Arrived.Local().Format("2006-01-02 15:04:05 -0700"), age(now.Sub(env.Arrived)))
	line("size", "%d", env.Size)
	if m.Expired {
		line("expired", "it is returned to its sender at the next try")
	}
	if m.State == control.Deferred || m.State == control.Incoming {
		line("next try", "%s, %s", m.Due.Local().Format("2006-01-02 15:04:05 -0700"), next(m, now))
	}
	line("from", "<%s>", mail.Quote(env.Sender))
	if c := env.Client; c.Address != "" {
		by := ""
		if c.SASLUsername != "" {
			by = ", logged in as " + c.SASLUsername
		}
		line("client", "%s[%s]%s", c.Name, c.Address, by)
	}
	if env.Filter != "" {
		line("filter", "%s", env.Filter)
	}
	for i, p := range m.Progress {
		line("to", "<%s>", mail.Quote(env.Recipients[i].Address))
		if o := env.Recipients[i].Original; o != "" && o != env.Recipients[i].Address {
			line("", "was <%s>", mail.Quote(o))
		}
		line("", "%s", outcome(p))
	}
	_, err := io.WriteString(e.Out, b.String())
	return err
}

// outcome tells how far a recipient has come, with the other side's words.
func outcome(p control.Progress) string {
	if p.Last == nil {
		return "not tried yet"
	}
	word := map[deliver.Status]string{deliver.Deferred: "waits", deliver.Sent: "delivered", deliver.Bounced: "failed"}[p.Last.Status]
	text := word + " (" + p.Last.DSN + ")"
	if p.Last.Relay != "" && p.Last.Relay != "none" {
		text += " at " + p.Last.Relay
	}
	return text + ": " + printable(p.Last.Text)
}

// printable replaces what would disturb a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
