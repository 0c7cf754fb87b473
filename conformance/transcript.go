package conformance

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Transcript is one dialogue and what became of it. As a text:
//
//	# DNS never answers                 what it is about, one line
//	client 127.0.0.2                    the address the client comes from
//	port 25                             the port it goes to
//	certificate known                   if the client speaks TLS from the start:
//	                                    its certificate, site/tls/known.pem; or none
//	site strict                         if there is more than the site's main.cf,
//	                                    where: site/variants/strict.cf
//	with main.cf                        package diff only: settings, tables and
//	| recipient_delimiter = +           zone of this dialogue alone
//
//	S: 220 mx.example.com ESMTP Postfix
//	C: EHLO client.test                 one line; CR and LF go without saying
//	C: first\n                          a line that ends otherwise says how,
//	C: half a li\c                      \c for not at all
//	C| ne                               a write of its own, see Pause
//	C> Subject: x                       only after 354, see Content
//	S! closed                           the server ends the connection first
//
//	-- log                              the server's log lines
//	postfix/smtpd: connect from good.client.test[127.0.0.2]
//	-- delivered example.com/plain      a file in this Maildir, lines after "| "
//	| Return-Path: <a@sender.test>
//	-- relayed 127.0.0.78               what the next hop was sent
//	| MAIL FROM:<a@sender.test>
//	-- policy                           what a policy service was told, a line a
//	                                    request: attributes with a value, then
//	                                    those that are not as before
//	-- queue                            what stayed in the queue
//	deferred from=<> rcpt=a@sender.test
//
// C: lines without a server's line between them go out in one write. When the
// steps are over the client ends its side and the server must close without
// another word. Bytes outside of printable ASCII are written as \xNN, "\" as
// "\\", and 30 or more equal bytes x as x{*N}.
type Transcript struct {
	Name    string
	About   string
	Client  string
	Port    int
	Site    string // empty: the site as it is
	Cert    string // empty: plaintext; a certificate's name or "none"
	With    []File // what package diff adds to its site
	Steps   []Step
	Log     []string
	Files   []File
	Relayed []File
	Policy  []string
	Queue   []string
}

// Step is one thing that happens in a dialogue.
type Step struct {
	Kind Kind
	Data []byte // Send, Pause: the bytes; Reply: one line without CR and LF
}

// Kind says who does what in a step.
type Kind int

const (
	Send    Kind = iota // the client sends, in one write with neighbouring Sends
	Pause               // the client sends when the server has read all so far
	Content             // the client sends if the last reply was 354; else the reply to it is not awaited
	Reply               // the server answers a line
	Closed              // the server closes the connection
)

// File is a delivered message.
type File struct {
	Label string // the Maildir below the mail base, or the next hop's address
	Lines []string
}

// Parse reads a transcript; name is the dialogue's name.
func Parse(name string, text []byte) (*Transcript, error) {
	t := &Transcript{Name: name}
	p := parser{t: t}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	if t.Client == "" || t.Port == 0 {
		return nil, fmt.Errorf("%s: the client or port line is missing", name)
	}
	return t, nil
}

// parser is where Parse stands: in the dialogue (section is empty) or in the
// section of that name.
type parser struct {
	t       *Transcript
	section string
}

func (p *parser) line(line string) error {
	if rest, ok := strings.CutPrefix(line, "-- "); ok {
		return p.begin(rest)
	}
	switch p.section {
	case "":
		return p.dialogue(line)
	case "log":
		p.t.Log = append(p.t.Log, line)
	case "queue":
		p.t.Queue = append(p.t.Queue, line)
	case "policy":
		p.t.Policy = append(p.t.Policy, line)
	case "delivered":
		return addLine(p.t.Files, line)
	case "relayed":
		return addLine(p.t.Relayed, line)
	}
	return nil
}

func (p *parser) begin(header string) error {
	section, label, _ := strings.Cut(header, " ")
	p.section = section
	switch section {
	case "log", "queue", "policy":
	case "delivered":
		p.t.Files = append(p.t.Files, File{Label: label})
	case "relayed":
		p.t.Relayed = append(p.t.Relayed, File{Label: label})
	default:
		return fmt.Errorf("unknown section %q", header)
	}
	return nil
}

func addLine(files []File, line string) error {
	text, ok := strings.CutPrefix(line, "| ")
	if line == "|" {
		text, ok = "", true
	}
	if !ok {
		return fmt.Errorf("a line of a message begins with %q, not as in %q", "| ", line)
	}
	if len(files) == 0 {
		return fmt.Errorf("%q belongs to no file", line)
	}
	last := &files[len(files)-1]
	last.Lines = append(last.Lines, text)
	return nil
}

func (p *parser) dialogue(line string) (err error) {
	mark, rest, _ := strings.Cut(line, " ")
	t := p.t
	if mark[:min(len(mark), 1)] == "|" {
		return addLine(t.With, line)
	}
	switch mark {
	case "":
	case "#":
		t.About = rest
	case "client":
		t.Client = rest
	case "site":
		t.Site = rest
	case "certificate":
		t.Cert = rest
	case "with":
		t.With = append(t.With, File{Label: rest})
	case "port":
		t.Port, err = strconv.Atoi(rest)
	case "S!":
		if rest != "closed" {
			return fmt.Errorf("unknown event %q", rest)
		}
		t.Steps = append(t.Steps, Step{Kind: Closed})
	case "S:", "C:", "C|", "C>":
		err = t.addText(mark, rest)
	default:
		return fmt.Errorf("cannot read %q", line)
	}
	return err
}

func (t *Transcript) addText(mark, text string) error {
	kind := map[string]Kind{"S:": Reply, "C:": Send, "C|": Pause, "C>": Content}[mark]
	text, unended := strings.CutSuffix(text, `\c`)
	data, err := unescape(text)
	if err != nil {
		return err
	}
	if kind != Reply && !unended && !bytes.HasSuffix(data, []byte("\n")) {
		data = append(data, "\r\n"...)
	}
	t.Steps = append(t.Steps, Step{kind, data})
	return nil
}

// Format is the text of t, which Parse reads.
func (t *Transcript) Format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\nclient %s\nport %d\n", t.About, t.Client, t.Port)
	if t.Cert != "" {
		fmt.Fprintf(&b, "certificate %s\n", t.Cert)
	}
	if t.Site != "" {
		fmt.Fprintf(&b, "site %s\n", t.Site)
	}
	for _, f := range t.With {
		b.WriteString("with " + f.Label + "\n")
		formatLines(&b, f.Lines)
	}
	b.WriteString("\n")
	for _, s := range t.Steps {
		b.WriteString(s.format())
	}
	b.WriteString("\n-- log\n")
	for _, l := range t.Log {
		b.WriteString(l + "\n")
	}
	formatFiles(&b, "delivered", t.Files)
	formatFiles(&b, "relayed", t.Relayed)
	if len(t.Policy) > 0 {
		fmt.Fprintf(&b, "-- policy\n%s\n", strings.Join(t.Policy, "\n"))
	}
	if len(t.Queue) > 0 {
		fmt.Fprintf(&b, "-- queue\n%s\n", strings.Join(t.Queue, "\n"))
	}
	return b.Bytes()
}

func formatFiles(b *bytes.Buffer, section string, files []File) {
	for _, f := range files {
		fmt.Fprintf(b, "-- %s %s\n", section, f.Label)
		formatLines(b, f.Lines)
	}
}

func formatLines(b *bytes.Buffer, lines []string) {
	for _, l := range lines {
		if l == "" {
			b.WriteString("|\n")
		} else {
			b.WriteString("| " + l + "\n")
		}
	}
}

func (s Step) format() string {
	switch s.Kind {
	case Closed:
		return "S! closed\n"
	case Reply:
		return "S: " + escape(s.Data) + "\n"
	}
	text, ended := bytes.CutSuffix(s.Data, []byte("\r\n"))
	out := escape(text)
	if !ended && !bytes.HasSuffix(text, []byte("\n")) {
		out += `\c`
	}
	return map[Kind]string{Send: "C: ", Pause: "C| ", Content: "C> "}[s.Kind] + out + "\n"
}
