package conformance

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sekisho/conformance/sandbox"
	"sekisho/internal/zone"
)

// A request asks a worker to play a dialogue; it is the text of its transcript.
type request struct {
	Name string
	Text []byte
}

// reply is the transcript of what happened.
type reply struct {
	Text []byte
	Took time.Duration
}

// server is one of the two mail servers, inside of a worker.
type server interface {
	// settings is what main.cf says for this server alone.
	settings() string
	// start returns when the server listens.
	start() error
	// idle says whether nothing is on its way into the queue or out of it, given
	// which messages are settled: held, or deferred.
	idle(settled func(id string) bool) bool
	// mark writes markText into the log, after all that the server has logged
	// so far: Postfix logs by way of another process.
	mark() error
	// queue lists what is left in the queue, one line a recipient.
	queue() ([]string, error)
	// clear empties the queue.
	clear() error
}

// worker plays dialogues to a server of its own.
type worker struct {
	server server
	log    *logFile
	next   *nextHop
	policy *policyService // nil where nobody is to be asked
	last   string         // the dialogue before this one
}

// Work is the life of a worker process: it becomes the machine the site runs on
// and plays the dialogues it is asked for.
func Work(role string) error {
	w := &worker{log: &logFile{path: mailLog}}
	switch role {
	case rolePostfix:
		w.server = postfix{}
	case roleSekisho:
		w.server = &sekisho{}
	default:
		return fmt.Errorf("unknown role %q", role)
	}
	if err := w.up(); err != nil {
		return sandbox.Serve(func(request) (reply, error) { return reply{}, err })
	}
	return sandbox.Serve(w.dialogue)
}

func (w *worker) up() error {
	if err := sandbox.Isolate(); err != nil {
		return err
	}
	variant, err := variantSettings(os.Getenv(siteVariable))
	if err != nil {
		return err
	}
	if !strings.Contains(variant, "smtpd_sasl_type") { // it has its own accounts
		variant += w.server.settings()
	}
	if err := prepare(variant); err != nil {
		return err
	}
	if err := startPeers(os.Getenv(siteVariable)); err != nil {
		return err
	}
	text, err := site.ReadFile("site/zone.txt")
	if err != nil {
		return err
	}
	names, err := zone.Parse("zone.txt", bytes.NewReader(text))
	if err != nil {
		return err
	}
	if _, err := names.Serve("127.0.0.1:53"); err != nil {
		return err
	}
	if w.next, err = listenNextHop("127.0.0.78"); err != nil {
		return err
	}
	if v := os.Getenv(siteVariable); v == policySite || v == tlsSite {
		if w.policy, err = listenPolicy(); err != nil {
			return err
		}
	}
	if err := w.server.start(); err != nil {
		log, _ := os.ReadFile(mailLog)
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}

// startPeers starts what a variant of the site needs besides the mail server.
func startPeers(variant string) error {
	switch variant {
	case mysqlSite:
		return startMySQL()
	case rimapSite:
		return startRimap()
	case dovecotSite:
		return startDovecot()
	}
	return nil
}

// dialogue plays one dialogue and collects all that came of it.
func (w *worker) dialogue(r request) (reply, error) {
	script, err := Parse(r.Name, r.Text)
	if err != nil {
		return reply{}, err
	}
	if stray, err := w.log.next(); err != nil {
		return reply{}, err
	} else if len(stray) > 0 && w.last != "" {
		return reply{}, fmt.Errorf("logged after dialogue %s was over: %q", w.last, stray)
	}
	w.last = r.Name
	begun := time.Now()
	said, err := Play(script, Patience)
	if err != nil {
		log, _ := w.log.next()
		return reply{}, fmt.Errorf("%w; said so far:\n%s", err, (&Transcript{Steps: said, Log: log}).Format())
	}
	seen := &Transcript{Name: script.Name, About: script.About, Client: script.Client, Port: script.Port, Cert: script.Cert, Site: script.Site, Steps: said}
	if err := w.collect(seen); err != nil {
		return reply{}, err
	}
	return reply{seen.Format(), time.Since(begun)}, nil
}

// collect fills in what the server logged, delivered, relayed and kept.
func (w *worker) collect(seen *Transcript) (err error) {
	log, err := w.log.follow(seen.Steps, w.server)
	if err != nil {
		return err
	}
	m := newMask(byService(log), seen.Steps)
	seen.Steps, seen.Log = m.steps(seen.Steps), m.log(log)
	mail, err := takeMail(mailBase)
	if err != nil {
		return err
	}
	seen.Files = m.files(mail)
	seen.Relayed = m.files(w.next.take())
	if w.policy != nil {
		seen.Policy = maskInstances(m.lines(w.policy.take()))
	}
	left, err := w.server.queue()
	if err != nil {
		return err
	}
	seen.Queue = m.lines(left)
	slices.Sort(seen.Queue)
	if len(left) > 0 {
		return w.server.clear()
	}
	return nil
}
