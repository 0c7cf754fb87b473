package peers

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/conformance/sandbox"
	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/smtp"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/testsite"
)

// request names a peer and the way that mail goes.
type request struct {
	Peer string
	Send bool // the peer is the sender
}

// reply is what came of it.
type reply struct {
	Message string // as it was delivered; empty: it was not
	Log     string // of both sides
}

func TestMain(m *testing.M) {
	if sandbox.Role() != role {
		os.Exit(m.Run())
	}
	failed := up()
	err := sandbox.Serve(func(r request) (reply, error) {
		if failed != nil {
			return reply{Log: logs()}, failed
		}
		return exchange(r)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Real mail systems take our mail by TLS, where they can, and we take theirs.
func TestPeers(t *testing.T) {
	missing := ""
	for _, file := range []string{unpacked + "/usr/sbin/exim4", unpacked + "/usr/sbin/smtpd"} {
		if _, err := os.Stat(file); err != nil {
			missing = err.Error() + ": run .ci/packages"
		}
	}
	if _, err := exec.LookPath("postfix"); err != nil {
		missing = err.Error() + ": apt-get install postfix"
	}
	if os.Getuid() != 0 {
		missing = "namespaces need root"
	}
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	binary, err := testsite.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := sandbox.Start(role, binaryName+"="+binary)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, p := range peers() {
		for _, send := range []bool{false, true} {
			name := "to " + p.name
			if send {
				name = "from " + p.name
			}
			t.Run(name, func(t *testing.T) {
				var got reply
				if err := w.Call(request{p.name, send}, &got); err != nil {
					t.Fatalf("%v\n%s", err, got.Log)
				}
				ok := strings.Contains(got.Message, "Subject: peers\n") && strings.Contains(got.Message, "\n.a dot\n")
				if send {
					ok = ok && strings.Contains(got.Message, "(using TLS") // smtpd_tls_received_header
				}
				if !ok {
					t.Errorf("delivered is %q\n%s", got.Message, got.Log)
				}
			})
		}
	}
}

const message = "From: <f@q.test>\nSubject: peers\n\n.a dot\nend\n"

// exchange sends one message, and looks for it where it should arrive.
func exchange(r request) (reply, error) {
	i := 0
	for ; peers()[i].name != r.Peer; i++ {
	}
	p := peers()[i]
	if r.Send {
		if err := submit(p.addr + ":25"); err != nil {
			return reply{Log: logs()}, err
		}
		return reply{Message: arrived("sekisho.in"), Log: logs()}, nil
	}
	var log bytes.Buffer
	result := ours(p, &log)
	if result.Status != deliver.Sent {
		return reply{Log: fmt.Sprintf("%+v\n", result) + logs() + log.String()}, nil
	}
	text := arrived(p.name + ".in")
	if !p.plain && !strings.Contains(log.String(), "Verified TLS connection established to "+p.addr) {
		text = ""
	}
	return reply{Message: text, Log: logs() + log.String()}, nil
}

// submit gives a peer a message for Sekisho.
func submit(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	body := strings.ReplaceAll(strings.ReplaceAll(message, "\n.", "\n.."), "\n", "\r\n") + "."
	for _, c := range []string{"", "EHLO client.test", "MAIL FROM:<f@q.test>", "RCPT TO:<u@example.com>", "DATA", body, "QUIT"} {
		if c != "" {
			fmt.Fprintf(conn, "%s\r\n", c)
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil || line[0] > '3' {
				return fmt.Errorf("%.20q: %q %w", c, line, err)
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	return nil
}

// ours delivers a message to a peer with Sekisho's client, which wants the peer
// to show the right certificate.
func ours(p peer, log io.Writer) deliver.Result {
	pem, err := os.ReadFile(home + "/cert.pem")
	if err != nil {
		return deliver.Result{Text: err.Error()}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	s := smtp.Settings{Myhostname: "mx.example.com", HeloName: "mx.example.com", Port: 25, LookupHost: true, IPv4: true, AlwaysEHLO: true, LineLimit: 998,
		TLS: smtp.TLSVerify, TLSConfig: &tls.Config{RootCAs: roots}, TLSLogLevel: 1, Digest: crypto.SHA256,
		TLSDefaults: smtp.TLSDefaults{Protocols: ">=TLSv1", MandatoryProtocols: ">=TLSv1", Ciphers: "medium", MandatoryCiphers: "medium", VerifyMatch: []string{p.name + ".test"}},
		HeaderLimit: 102400, BoundaryLimit: 2048, NestingLimit: 100, Chunking: true}
	if p.plain {
		s.TLS = smtp.TLSNone
	}
	for _, d := range []*time.Duration{&s.ConnectTimeout, &s.HeloTimeout, &s.StartTLSTimeout, &s.MailTimeout, &s.RcptTimeout, &s.DataInitTimeout, &s.DataXferTimeout, &s.DataDoneTimeout, &s.QuitTimeout, &s.RsetTimeout} {
		*d = 20 * time.Second
	}
	a := &smtp.Agent{Settings: s, Name: "smtp", World: &evidence.World{}, Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(log, nil))}
	to := []mail.Recipient{{Address: "u@" + p.name + ".test"}}
	results := a.Deliver(context.Background(), &deliver.Request{QueueID: "QID", Envelope: &mail.Envelope{Sender: "f@q.test", Recipients: to, Arrived: time.Now(), Size: int64(len(message))},
		Recipients: to, Nexthop: "[" + p.addr + "]", Size: int64(len(message)), Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(message)), nil }})
	return results[0]
}

// arrived returns the message that is below a folder, when one is there.
func arrived(dir string) string {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text := ""
		filepath.WalkDir(filepath.Join(home, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.Contains(path, "/tmp/") {
				if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), "Subject: peers") {
					text = string(b)
					os.Remove(path) // the next one has the same subject
				}
			}
			return nil
		})
		if text != "" {
			return text
		}
	}
	return ""
}

// logs is what all have logged.
func logs() string {
	var b strings.Builder
	files, _ := filepath.Glob(home + "/*log")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "--- %s\n%s", f, text[max(0, len(text)-1500):])
	}
	return b.String()
}
