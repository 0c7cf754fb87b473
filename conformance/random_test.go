package conformance

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestRandom makes dialogues up, plays each to Postfix and then to Sekisho, and
// compares. RANDOM_SEED and RANDOM_DIALOGUES in the environment say which and
// how many for each site.
//
// Some things are left out on purpose: NOTIFY=NEVER (see differences.md); HELP;
// the client 127.0.0.8, whose block list errors Postfix remembers beyond the
// session; and on the site strict the client 127.0.0.21, since Postfix's smtpd
// dies of a DATA that follows a message refused at its end.
func TestRandom(t *testing.T) {
	requireRoot(t)
	requirePostfix(t)
	seed, count := number(t, "RANDOM_SEED", 1), number(t, "RANDOM_DIALOGUES", 25)
	binary := filepath.Join(t.TempDir(), "sekisho")
	if out, err := exec.Command("go", "build", "-o", binary, "sekisho/cmd/sekisho").CombinedOutput(); err != nil {
		t.Fatalf("building sekisho: %v\n%s", err, out)
	}
	for _, site := range []string{"", "mapped", "strict"} {
		theirs := newPool(rolePostfix, []string{siteVariable + "=" + site})
		ours := newPool(roleSekisho, []string{siteVariable + "=" + site, binaryVariable + "=" + binary})
		t.Cleanup(theirs.close)
		t.Cleanup(ours.close)
		words := readWords(t, site)
		for i := range count {
			script := makeUp(words, site, int64(seed+i))
			t.Run(script.Name, func(t *testing.T) {
				t.Parallel()
				want, _, err := theirs.play(script)
				if err != nil {
					t.Fatalf("Postfix: %v", err)
				}
				got, _, err := ours.play(want)
				if err != nil {
					t.Fatalf("Sekisho: %v\nPostfix:\n%s", err, want.Format())
				}
				if d := difference(want, got); d != "" {
					t.Errorf("Sekisho differs from Postfix (- Postfix, + Sekisho):\n%s\nPostfix:\n%s", d, want.Format())
				}
			})
		}
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// readWords reads the words of a site by kind.
func readWords(t *testing.T, site string) map[string][]string {
	text, err := os.ReadFile("testdata/random/words.txt")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string][]string{}
	var kind string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if header, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(header, "]") && !strings.Contains(header, ".") {
			name, of, _ := strings.Cut(strings.TrimSuffix(header, "]"), " ")
			if kind = ""; of == "" || of == site {
				kind = name
			}
			continue
		}
		if kind == "" || line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, err := unescape(strings.TrimPrefix(line, "="))
		if err != nil {
			t.Fatal(err)
		}
		if site == "strict" && kind == "client" && line == "127.0.0.21" {
			continue
		}
		words[kind] = append(words[kind], string(word))
	}
	return words
}

// author makes one dialogue up.
type author struct {
	*rand.Rand
	words  map[string][]string
	script *Transcript
}

// makeUp makes a dialogue: a greeting, one to three messages, mostly with an
// end. The replies are for Postfix to fill in.
func makeUp(words map[string][]string, site string, seed int64) *Transcript {
	a := &author{Rand: rand.New(rand.NewSource(seed)), words: words}
	ports := []int{25, 25, 25, 2523, 2511}
	if site == "" {
		ports = append(ports, 2510, 2512, 2513, 2514, 2515, 2516, 2517, 2518, 2519, 2520, 2522, 2524)
	}
	a.script = &Transcript{
		Name: fmt.Sprintf("%s-%d", site, seed), About: "made up", Client: a.word("client"),
		Port: ports[a.Intn(len(ports))], Site: site,
	}
	a.reply()
	if a.Intn(12) > 0 {
		a.say(a.oneOf("EHLO ", "EHLO ", "EHLO ", "HELO ") + a.oneOf("client.test", "client.test", a.word("helo")))
	}
	for range 1 + a.Intn(3) {
		a.message()
	}
	if a.Intn(10) > 0 {
		a.say("QUIT")
	}
	return a.script
}

func (a *author) oneOf(words ...string) string { return words[a.Intn(len(words))] }
func (a *author) word(kind string) string      { return a.oneOf(a.words[kind]...) }

func (a *author) add(k Kind, data string) {
	a.script.Steps = append(a.script.Steps, Step{k, []byte(data)})
}

// reply stands for one reply, whatever it is.
func (a *author) reply() { a.add(Reply, "?") }

// say sends a command and waits for the reply; what might begin content gets a
// final dot.
func (a *author) say(command string) {
	a.add(Send, command+a.end())
	a.reply()
	if command == "DATA" || command == "AUTH PLAIN" {
		a.add(Content, ".\r\n")
		a.reply()
	}
}

func (a *author) end() string {
	if a.Intn(60) == 0 {
		return "\n"
	}
	return "\r\n"
}

// message is MAIL, some RCPT, and content by DATA or BDAT.
func (a *author) message() {
	commands := []string{a.command("MAIL FROM:", "a@sender.test", "mail")}
	for range 1 + a.Intn(4) {
		commands = append(commands, a.command("RCPT TO:", "plain@example.com", "rcpt"))
	}
	if a.Intn(6) == 0 {
		a.group(commands)
	} else {
		for _, c := range commands {
			a.say(a.bent(c))
		}
	}
	if a.Intn(8) == 0 {
		a.chunks()
		return
	}
	a.add(Send, "DATA\r\n")
	a.reply()
	for _, line := range a.content() {
		if strings.HasPrefix(line, ".") {
			line = "." + line
		}
		a.add(Content, line+a.end())
	}
	a.add(Content, ".\r\n")
	a.reply()
}

// group sends commands in one write. Those that end a session, or a line's
// meaning, stay out.
func (a *author) group(commands []string) {
	n := 0
	for _, c := range commands {
		if strings.HasPrefix(c, "MAIL FROM:") || strings.HasPrefix(c, "RCPT TO:") {
			a.add(Send, c+"\r\n")
			n++
		}
	}
	for range n {
		a.reply()
	}
}

// chunks sends content by BDAT, in one chunk or two.
func (a *author) chunks() {
	body := strings.Join(a.content(), a.oneOf("\r\n", "\r\n", "\r\n", "\n")) + "\r\n"
	if a.Intn(3) == 0 {
		n := 1 + a.Intn(len(body))
		a.add(Send, fmt.Sprintf("BDAT %d\r\n", n))
		a.add(Send, body[:n])
		a.reply()
		body = body[n:]
	}
	a.add(Send, fmt.Sprintf("BDAT %d LAST\r\n", len(body)))
	for line := range strings.SplitAfterSeq(body, "\n") {
		if line != "" {
			a.add(Send, line)
		}
	}
	a.reply()
}

// command is mostly the given one, for a good address or any.
func (a *author) command(verb, good, params string) string {
	switch {
	case a.Intn(7) == 0:
		return a.word("command")
	case a.Intn(25) == 0:
		return a.oneOf("EHLO ", "HELO ") + a.word("helo")
	}
	path := "<" + good + ">"
	if a.Intn(3) > 0 {
		path = a.path()
	}
	for a.Intn(5) == 0 {
		path += " " + a.word(params)
	}
	return verb + path
}

func (a *author) path() string {
	addr := a.word("local") + "@" + a.word("domain")
	switch a.Intn(20) {
	case 0:
		addr = ""
	case 1:
		addr = a.word("local")
	case 2:
		addr = "@a.test:" + addr
	}
	if a.Intn(6) > 0 {
		return "<" + addr + ">"
	}
	return a.oneOf(addr, "<"+addr, " <"+addr+">", "Name <"+addr+">", "<"+addr+"> (c)", addr+" (c)")
}

// bent writes a command in another way, now and then.
func (a *author) bent(c string) string {
	switch a.Intn(30) {
	case 0:
		return strings.ToLower(c)
	case 1:
		return strings.Replace(c, " ", "  ", 1)
	case 2:
		return strings.Replace(c, " ", "\t", 1)
	case 3:
		return c + " "
	case 4:
		return " " + c
	case 5:
		return strings.Replace(c, ":", ": ", 1)
	case 6:
		return c + "\x00junk"
	case 7:
		return strings.Replace(c, ">", "", 1)
	}
	return c
}

// content is a message: plain, with many addresses in its header, or in parts
// that may be wrong.
func (a *author) content() []string {
	switch a.Intn(5) {
	case 0:
		return a.parts()
	case 1:
		var header []string
		for range 1 + a.Intn(4) {
			list := []string{a.word("address")}
			for range a.Intn(3) {
				list = append(list, a.word("address"))
			}
			name := a.oneOf("From", "To", "Cc", "Sender", "Reply-To", "Resent-To", "Resent-From", "Errors-To", "Bcc", "to ")
			header = append(header, name+": "+strings.Join(list, a.oneOf(", ", ",", ",\r\n\t", " ", " , ")))
		}
		return append(header, "", "body")
	}
	lines := a.some("header", 7)
	if a.Intn(8) > 0 {
		lines = append(lines, "")
	}
	return append(lines, a.some("body", 5)...)
}

func (a *author) some(kind string, limit int) []string {
	var lines []string
	for range a.Intn(limit) {
		lines = append(lines, a.word(kind))
	}
	return lines
}

func (a *author) parts() []string {
	lines := append([]string{
		"MIME-Version: 1.0",
		"Content-Type: " + a.oneOf("multipart/mixed", "Multipart/Digest", "message/rfc822", "text/plain") +
			a.oneOf("; boundary=b1", "; Boundary = b1", `; x=y; boundary="b1"`, ";\r\n\tboundary=b1"),
	}, a.some("header", 4)...)
	lines = append(lines, "")
	for range a.Intn(14) {
		lines = append(lines, a.oneOf("--b1", "--b1", "--b1--", "--b1x", "", a.word("header"), a.word("body"),
			"Content-Type: message/rfc822", "Content-Type: text/plain; name=a.scr", "Content-Transfer-Encoding: 8bit"))
	}
	return lines
}
