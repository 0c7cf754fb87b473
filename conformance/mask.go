package conformance

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	logID       = regexp.MustCompile(`^\S+: (?:warning: )?([0-9A-F]{6,}): `)
	replyID     = regexp.MustCompile(`queued as ([0-9A-F]{6,})`)
	numberedID  = regexp.MustCompile(`^\S+: (?:warning: )?<ID(\d+)>: `)
	outcome     = regexp.MustCompile(`: <ID\d+>: to=<.*, status=\w+ `)
	maskedID    = regexp.MustCompile(`queued as \S+`)
	dateText    = regexp.MustCompile(`(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [ \d]\d (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)`)
	messageID   = regexp.MustCompile(`\b\d{14}\.(<ID\d+>@)`)
	boundary    = regexp.MustCompile(`(<ID\d+>)\.\d{10}/`)
	delays      = regexp.MustCompile(`\bdelay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+,`)
	madeID      = regexp.MustCompile(`^(?:resent-)?message-id=<`)
	relayedSize = regexp.MustCompile(`^(MAIL FROM:<.*>) SIZE=\d+`)
	activeSize  = regexp.MustCompile(`^(\S+: )([0-9A-F]{6,})(: from=<.*>, size=)(\d+)(, nrcpt=\d+ \(queue active\))$`)
)

// usualID is the length of the queue ids that message sizes are written for. A
// Postfix queue id ends with the number of a file, so its length depends on the
// file system.
const usualID = 10

// mask hides what differs from run to run. Queue ids become <ID1>, <ID2>, ... in
// the order of the log, so that it stays visible which message a line speaks of.
type mask struct {
	ids   []string
	names *strings.Replacer
}

// newMask learns the queue ids of a dialogue from its log, grouped by service,
// and from the replies.
func newMask(log []string, said []Step) *mask {
	m := &mask{}
	for _, l := range log {
		m.learn(logID, l)
	}
	for _, s := range said {
		if s.Kind == Reply {
			m.learn(replyID, string(s.Data))
		}
	}
	var pairs []string
	for i, id := range m.ids {
		pairs = append(pairs, id, fmt.Sprintf("<ID%d>", i+1))
	}
	m.names = strings.NewReplacer(pairs...)
	return m
}

func (m *mask) learn(pattern *regexp.Regexp, text string) {
	found := pattern.FindStringSubmatch(text)
	if found != nil && !slices.Contains(m.ids, found[1]) {
		m.ids = append(m.ids, found[1])
	}
}

func (m *mask) text(s string) string {
	s = m.names.Replace(s)
	s = dateText.ReplaceAllString(s, "<DATE>")
	s = messageID.ReplaceAllString(s, "<TIME>.$1")
	s = boundary.ReplaceAllString(s, "$1.<TIME>/")
	s = relayedSize.ReplaceAllString(s, "$1 SIZE=<N>")
	return delays.ReplaceAllString(s, "delay=<N>, delays=<N>,")
}

func (m *mask) lines(lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, m.text(l))
	}
	return out
}

// log masks log lines. Sizes are written for queue ids of the usual length; the
// size of a message that has other ids in it, or its own many times, is not.
func (m *mask) log(lines []string) []string {
	var out []string
	for _, l := range lines {
		if f := activeSize.FindStringSubmatch(l); f != nil {
			l = f[1] + f[2] + f[3] + sizeFor(f[2], f[3], f[4], lines) + f[5]
		}
		out = append(out, m.text(l))
	}
	return out
}

func sizeFor(id, from, size string, log []string) string {
	forwarded := func(l string) bool { return strings.HasSuffix(l, "(forwarded as "+id+")") }
	if slices.ContainsFunc(log, forwarded) || strings.Contains(from, "from=<>") || strings.Contains(from, "from=<double-bounce@") {
		return "<N>"
	}
	times := 1 // in Received:
	for _, l := range log {
		_, text, _ := strings.Cut(l, ": "+id+": ")
		if madeID.MatchString(text) && strings.Contains(text, "."+id+"@") {
			times++
		}
	}
	n, _ := strconv.Atoi(size)
	return strconv.Itoa(n - times*(len(id)-usualID))
}

func (m *mask) files(files []File) []File {
	var out []File
	for _, f := range files {
		out = append(out, File{f.Label, m.lines(f.Lines)})
	}
	slices.SortFunc(out, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), slices.Compare(a.Lines, b.Lines))
	})
	return out
}

func (m *mask) steps(steps []Step) []Step {
	out := slices.Clone(steps)
	for i, s := range out {
		if s.Kind == Reply {
			out[i].Data = []byte(m.text(string(s.Data)))
		}
	}
	return out
}

// byService sorts log lines by the service that wrote them, and outside of smtpd
// by message and the outcomes of recipients; it leaves the order within. Processes
// that work at the same time, or on several messages, log in any order.
func byService(log []string) []string {
	out := slices.Clone(log)
	slices.SortStableFunc(out, func(a, b string) int {
		sa, sb := serviceOf(a), serviceOf(b)
		return cmp.Or(cmp.Compare(rank(sa), rank(sb)), cmp.Compare(sa, sb), cmp.Compare(messageOf(a), messageOf(b)),
			cmp.Compare(outcomeOf(a), outcomeOf(b)))
	})
	return out
}

// outcomeOf is the whole line if it tells the outcome of a recipient, or of an
// attempt to connect to a next hop.
func outcomeOf(line string) string {
	if outcome.MatchString(line) || strings.HasPrefix(line, "postfix/smtp: connect to ") {
		return line
	}
	return ""
}

func serviceOf(line string) string {
	service, _, _ := strings.Cut(line, ":")
	return service
}

// rank puts the services that see a message first in front.
func rank(service string) int {
	return (slices.Index([]string{"postfix/smtpd", "postfix/cleanup", "postfix/qmgr"}, service) + 4) % 4
}

// messageOf is the number of the message that a line of another service than
// smtpd speaks of, 0 for none.
func messageOf(line string) (n int) {
	if f := numberedID.FindStringSubmatch(line); f != nil && serviceOf(line) != "postfix/smtpd" {
		n, _ = strconv.Atoi(f[1])
	}
	return n
}

// sameReplies compares replies, but for their queue ids.
func sameReplies(a, b []Step) bool {
	return slices.EqualFunc(a, b, func(x, y Step) bool {
		hide := func(s Step) string { return maskedID.ReplaceAllString(string(s.Data), "queued as ID") }
		return x.Kind == y.Kind && hide(x) == hide(y)
	})
}
