//go:build linux

package addresses

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekisho/internal/cleanup"
	"sekisho/internal/clock"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

// message is one for cleanup, as smtpd brings it.
type message struct {
	Local      bool // the client's headers are rewritten
	Sender     octets
	Recipients []octets
	Notify     []int // one each
	Lines      []octets
}

// queued is what became of it: the reason of a refusal, or the records of the
// queue file that tell about addresses, and its content.
type queued struct {
	Status  int
	Reason  octets
	Records []octets
	Log     octets // what was logged about it
}

// Flags of a request to cleanup: make automatic blind copies, map addresses,
// and the reply is SMTP's.
const cleanupFlags = "50" // CLEANUP_FLAG_FILTER | CLEANUP_FLAG_BCC_OK | CLEANUP_FLAG_MAP_OK

// submit gives cleanup a message and reads what it puts into the queue.
func submit(socket string, m message) (q queued, err error) {
	p, err := dial(socket)
	if err != nil {
		return q, err
	}
	defer p.Close()
	id := value(p.greeting, "queue_id")
	if id == "" {
		return q, fmt.Errorf("no queue id in %q", p.greeting)
	}
	if err := p.send(attr{"flags", cleanupFlags}); err != nil {
		return q, err
	}
	if _, err := p.Write(m.records()); err != nil {
		return q, err
	}
	a, err := p.receive()
	if err != nil {
		return q, err
	}
	q.Reason = octets(value(a, "reason"))
	if q.Status, err = strconv.Atoi(value(a, "status")); err != nil || q.Status != 0 {
		q.Reason = smtpdReply(q.Status, q.Reason)
		return q, err
	}
	file := "/var/spool/postfix/incoming/" + id
	b, err := os.ReadFile(file)
	if err != nil {
		return q, err
	}
	q.Records, err = keep(b)
	return q, errors.Join(err, os.Remove(file))
}

// smtpdReply is what smtpd tells the client of a status of cleanup.
func smtpdReply(status int, reason octets) octets {
	switch {
	case status&(1<<8) != 0 && reason != "":
		return "451 " + reason
	case status&(1<<2) != 0:
		return "552 5.3.4 Error: message file too big"
	case status&(1<<4) != 0:
		return "554 5.4.0 Error: too many hops"
	case status&(1<<3) != 0 && reason != "":
		return "550 " + reason
	case status&(1<<1) != 0:
		return "451 4.3.0 Error: queue file write error"
	}
	return octets(fmt.Sprintf("status %#x %s", status, reason))
}

// record is one record of a queue file: its type, its length in groups of
// seven bits, the least first, and its text.
func record(kind byte, text string) []byte {
	b := []byte{kind}
	n := len(text)
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), text...)
}

func (m message) records() []byte {
	var b []byte
	add := func(kind byte, text string) { b = append(b, record(kind, text)...) }
	now := time.Now()
	add('T', fmt.Sprintf("%d %d", now.Unix(), now.Nanosecond()/1000))
	add('A', "rewrite_context="+map[bool]string{false: "remote", true: "local"}[m.Local])
	add('S', string(m.Sender))
	for i, r := range m.Recipients {
		if m.Notify[i] != 0 {
			add('A', "notify_flags="+strconv.Itoa(m.Notify[i]))
		}
		add('R', string(r))
	}
	add('M', "")
	for _, l := range m.Lines {
		add('N', string(l))
	}
	add('X', "")
	add('E', "")
	return b
}

// keep reads a queue file and leaves out what is not about addresses or content.
func keep(file []byte) ([]octets, error) {
	in := bufio.NewReader(bytes.NewReader(file))
	var out []octets
	dsn, notify, original, text := "", "", "", ""
	for {
		kind, err := in.ReadByte()
		if err == io.EOF {
			return out, nil
		}
		n := 0
		for shift := 0; ; shift += 7 {
			c, err := in.ReadByte()
			if err != nil {
				return nil, err
			}
			n |= int(c&0x7f) << shift
			if c&0x80 == 0 {
				break
			}
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		value := string(b)
		switch kind {
		case 'A':
			name, v, _ := strings.Cut(value, "=")
			switch name {
			case "dsn_orig_rcpt":
				dsn = v
			case "notify_flags":
				notify = v
			}
		case 'O':
			original = value
		case 'S':
			out = append(out, octets("from "+value))
		case 'R':
			out = append(out, octets(fmt.Sprintf("to %s original %s dsn %s notify %s", value, original, dsn, notify)))
			dsn, notify, original = "", "", ""
		case 'L':
			text += value
		case 'N':
			out = append(out, octets("| "+text+value))
			text = ""
		}
	}
}

// own is our cleanup with the parameters of one service.
type own struct {
	*mine
	c   *cleanup.Cleaner
	q   *queue.Queue
	log *bytes.Buffer
}

func (m *mine) cleaner(t *testing.T, v int, q *queue.Queue) *own {
	t.Helper()
	r, _ := m.resolver(t, v)
	cfg := m.Config.Service(m.service("cleanup" + strconv.Itoa(v)))
	log := new(bytes.Buffer)
	c, problems := cleanup.New(cfg, cleanup.World{
		Resolver: r, Lists: m.world(), Queue: q, Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return &own{m, c, q, log}
}

// submit is the same as the function of that name.
func (o *own) submit(t *testing.T, m message) queued {
	t.Helper()
	env := mail.Envelope{QueueID: o.q.NewID(), Arrived: time.Now(), Sender: string(m.Sender)}
	for i, r := range m.Recipients {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: string(r), Notify: notify(m.Notify[i])})
	}
	f := &mail.Facts{ClientAddress: "198.51.100.1", ClientName: "unknown"}
	if m.Local {
		f.ClientAddress = "127.0.0.1"
	}
	msg, err := o.c.Begin(context.Background(), env, f, o.src)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range m.Lines {
		if msg.WriteLine([]byte(l)) != nil {
			break
		}
	}
	res := msg.Close()
	if !res.Reply.IsZero() {
		return queued{Status: res.Reply.Code, Reason: octets(res.Reply.String())}
	}
	qm, err := o.q.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer qm.Remove()
	r, err := qm.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return queued{Records: tell(qm.Envelope(), string(content))}
}

// notify reads Postfix's bits.
func notify(bits int) mail.Notify {
	var n mail.Notify
	for i, b := range []mail.Notify{mail.NotifyNever, mail.NotifySuccess, mail.NotifyFailure, mail.NotifyDelay} {
		if bits&(1<<i) != 0 {
			n |= b
		}
	}
	return n
}

func bits(n mail.Notify) string {
	for i := range 16 {
		if i > 0 && notify(i) == n {
			return strconv.Itoa(i)
		}
	}
	return ""
}

func tell(env *mail.Envelope, content string) []octets {
	out := []octets{octets("from " + env.Sender)}
	for _, r := range env.Recipients {
		out = append(out, octets(fmt.Sprintf("to %s original %s dsn %s notify %s", r.Address, r.Original, plainText(r.ORCPT), bits(r.Notify))))
	}
	for line := range strings.Lines(content) {
		out = append(out, octets("| "+strings.TrimSuffix(line, "\n")))
	}
	return out
}

// plainText undoes xtext (RFC 3461 section 4), which Postfix's queue files have not.
func plainText(s string) string {
	return coded.ReplaceAllStringFunc(s, func(hex string) string {
		n, _ := strconv.ParseUint(hex[1:], 16, 8)
		return string([]byte{byte(n)})
	})
}

var (
	coded    = regexp.MustCompile(`\+[0-9A-F]{2}`)
	madeID   = regexp.MustCompile(`^(\| (?:Resent-)?Message-Id: )<\d{14}\.[0-9A-F]+@`)
	madeDate = regexp.MustCompile(`^(\| (?:Resent-)?Date: )\w{3}, .?\d \w{3} 20\d\d .*`)
)

// same brings both reports into one form: what is made of the time and the
// queue id is taken out, and the envelope comes first.
func (q queued) same() []string {
	if q.Status != 0 {
		return []string{string(q.Reason)}
	}
	var out []string
	for _, r := range q.Records {
		out = append(out, madeDate.ReplaceAllString(madeID.ReplaceAllString(string(r), "$1<ID@"), "${1}DATE"))
	}
	slices.SortStableFunc(out, func(a, b string) int { // Postfix has some recipients after the content
		return cmp.Compare(strings.IndexByte("ft|", a[0]), strings.IndexByte("ft|", b[0]))
	})
	return out
}

// TestCleanup gives cleanup and package cleanup the same messages.
func TestCleanup(t *testing.T) {
	g, variants, cases := setUp(t)
	cases = cases/5 + 1
	files := g.cleanupFiles(variants)
	theirs := start(t, files)
	mine := load(t, files)
	q, err := queue.Open(filepath.Join(t.TempDir(), "spool"), queue.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	for v := range variants {
		var r reply
		req := request{Service: fmt.Sprint("cleanup", v)}
		for range cases {
			req.Messages = append(req.Messages, g.message())
		}
		if err := theirs.Call(req, &r); err != nil {
			t.Fatal(err)
		}
		o := mine.cleaner(t, v, q)
		wrong := 0
		for i, m := range req.Messages {
			o.log.Reset()
			got, want := o.submit(t, m).same(), r.Queued[i].same()
			if !slices.Equal(got, want) && wrong < 3 {
				t.Errorf("variant %d: %s", v, differ(m, got, want)+string(r.Queued[i].Log)+o.log.String())
				wrong++
			}
		}
		if wrong > 0 {
			t.Logf("variant %d was\n%s%s", v, mine.overrides(fmt.Sprint("rewrite", v), files), mine.overrides(fmt.Sprint("cleanup", v), files))
		}
	}
}

func differ(m message, got, want []string) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "local %v, from %q to %q %v\n", m.Local, m.Sender, m.Recipients, m.Notify)
	for _, l := range m.Lines {
		fmt.Fprintf(&b, "  %q\n", l)
	}
	fmt.Fprintf(&b, "Postfix:\n")
	for _, l := range want[n:min(len(want), n+3)] {
		fmt.Fprintf(&b, "  %q\n", l)
	}
	fmt.Fprintf(&b, "Sekisho:\n")
	for _, l := range got[n:min(len(got), n+3)] {
		fmt.Fprintf(&b, "  %q\n", l)
	}
	return b.String()
}
