package explain

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/term"

	"sekisho/internal/explain"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// printer writes reports for people.
type printer struct {
	w      *bufio.Writer
	dir    string // of the configuration; files below it lose it
	colour bool
}

func newPrinter(f *os.File, dir string) *printer {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return &printer{bufio.NewWriter(f), dir, term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// Colours of a terminal (ECMA-48 SGR).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *printer) paint(colour, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func (p *printer) print(f mail.Facts, results []result) error {
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(p.w)
		}
		p.head(f, r)
		p.ladder(r.Ladder)
		for _, l := range r.Log {
			fmt.Fprintln(p.w, "log       "+p.paint(dim, l))
		}
	}
	return p.w.Flush()
}

func (p *printer) head(f mail.Facts, r result) {
	for _, problem := range r.Problems {
		fmt.Fprintln(p.w, "problem   "+p.paint(red, problem))
	}
	verdict := string(r.Verdict)
	if r.Verdict != explain.Accepted {
		verdict += " at " + r.Command
	}
	if !r.Certain {
		verdict = "possible: " + verdict
	}
	fmt.Fprintln(p.w, "verdict   "+p.paint(verdictColour(r.Verdict), verdict))
	if r.Reply != "" {
		fmt.Fprintln(p.w, "reply     "+p.paint(bold, r.Reply))
	}
	for _, e := range r.Effects {
		fmt.Fprintln(p.w, "action    "+e)
	}
	for _, o := range r.Otherwise {
		reply := ""
		if o.Reply != "" {
			reply = ": " + o.Reply
		}
		fmt.Fprintf(p.w, "or        %s, if %s is %s%s\n", o.Verdict, o.Question, o.Answer, reply)
	}
	fmt.Fprintln(p.w, "service   "+r.Service)
	client := f.NameAddr()
	if f.ReverseClientName != f.ClientName {
		client += ", points to " + f.ReverseClientName
	}
	fmt.Fprintln(p.w, "client    "+client)
	fmt.Fprintf(p.w, "mail      from=<%s> to=<%s>\n", mail.Quote(f.Sender), mail.Quote(r.Recipient))
}

func verdictColour(v explain.Verdict) string {
	switch v {
	case explain.Accepted:
		return green
	case explain.Deferred, explain.Discarded:
		return yellow
	}
	return red
}

// ladder prints the rungs list by list, in columns: place, restriction,
// result, what it says.
func (p *printer) ladder(rungs []explain.Rung) {
	var place, what, res int
	for _, r := range rungs {
		place, what, res = max(place, len(p.place(r))), max(what, len(written(r))), max(res, len(r.Result))
	}
	what = min(what, 60)
	command, list := "", "-"
	for _, r := range rungs {
		if r.Command != command || r.List != list {
			command, list = r.Command, r.List
			title := r.Command + " " + r.List
			if r.List == "" {
				title = r.Command + " after the lists"
			}
			fmt.Fprintln(p.w, "\n"+p.paint(bold, title))
		}
		line := fmt.Sprintf("  %-*s  %-*s  ", place, p.place(r), what, written(r)) + p.result(r, res)
		fmt.Fprintln(p.w, strings.TrimRight(line, " "))
		for _, q := range questions(r) {
			fmt.Fprintln(p.w, "  "+strings.Repeat(" ", place+4)+p.paint(dim, "? "+q))
		}
		if len(r.ChangedBy) > 0 {
			fmt.Fprintln(p.w, "  "+strings.Repeat(" ", place+4)+p.paint(dim, "changed by "+strings.Join(r.ChangedBy, ", ")))
		}
	}
	fmt.Fprintln(p.w)
}

func (p *printer) result(r explain.Rung, width int) string {
	colour := dim
	switch r.Result {
	case restrict.Permitted:
		colour = green
	case restrict.Refused:
		colour = red
	case restrict.Armed, restrict.Warned:
		colour = yellow
	case restrict.Passed:
		colour = ""
	}
	cell := fmt.Sprintf("%-*s", width, r.Result)
	if colour != "" {
		cell = p.paint(colour, cell)
	}
	says := r.Says
	if r.Result == restrict.NotReached {
		says = p.paint(dim, "would be: "+says)
	}
	return cell + "  " + says
}

// place is file:line, relative to the configuration.
func (p *printer) place(r explain.Rung) string {
	if r.File == "" {
		return "default"
	}
	file := r.File
	if rel, err := filepath.Rel(p.dir, r.File); err == nil && !strings.HasPrefix(rel, "..") {
		file = rel
	}
	return file + ":" + strconv.Itoa(r.Line)
}

// questions are the questions of a rung with their answers; keys that a table
// does not have stand together.
func questions(r explain.Rung) []string {
	var out, missing []string
	table := ""
	flush := func() {
		if len(missing) > 0 {
			out = append(out, table+"no entry for "+strings.Join(missing, ", "))
		}
		missing = nil
	}
	for _, a := range r.Asked {
		of := ""
		if a.Kind != "table" || a.Of != r.Argument && a.Of != r.Restriction {
			of = a.Of + " "
		}
		if a.Kind == "policy" || a.Kind == "sleep" { // what it is stands in the list
			flush()
			out = append(out, a.Answer)
			continue
		}
		if a.Kind == "table" && a.Answer == explain.NoEntry {
			if of != table {
				flush()
			}
			table, missing = of, append(missing, a.Key)
			continue
		}
		flush()
		out = append(out, strings.TrimLeft(of+a.Key+": "+a.Answer, " "))
	}
	flush()
	return out
}

// written is the restriction as it stands in the list; what belongs to a class
// or a table's value is moved in.
func written(r explain.Rung) string {
	s := strings.Repeat("  ", r.Depth-1)
	if r.Warn {
		s += "warn_if_reject "
	}
	s += r.Restriction
	if r.Argument != "" {
		s += " " + r.Argument
	}
	return s
}
