package master

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"sekisho/internal/config"
	"sekisho/internal/deliver/smtp"
	"sekisho/internal/dns"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/mtasts"
	"sekisho/internal/tlsrpt"
)

// webTimeout is how long reading a policy or uploading a report may take (RFC
// 8461 section 3.3).
const webTimeout = 60 * time.Second

// web is what is known and counted of TLS with other sites. It outlives reloads:
// of two that keep the same file, the one that ends last would undo the other's
// work.
type web struct {
	mu         sync.Mutex
	policies   map[string]*mtasts.Cache     // by file
	collectors map[string]*tlsrpt.Collector // by file
	stop       []func()

	// What the latest graph asks and sends with.
	query func(ctx context.Context, name, typ string) dns.Answer
	send  func(ctx context.Context, to string, r tlsrpt.Report) error
}

func (w *web) close() {
	for _, stop := range w.stop {
		stop()
	}
}

// use makes a graph the one to ask and send with.
func (w *web) use(b *builder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.query, w.send = b.world.Query, b.mailReport
}

func (w *web) ask(ctx context.Context, name, typ string) dns.Answer {
	w.mu.Lock()
	query := w.query
	w.mu.Unlock()
	return query(ctx, name, typ)
}

func (w *web) mail(ctx context.Context, to string, r tlsrpt.Report) error {
	w.mu.Lock()
	send := w.send
	w.mu.Unlock()
	return send(ctx, to, r)
}

// tlsKnowledge is what the SMTP clients of a graph share about TLS.
type tlsKnowledge struct {
	sts     *mtasts.Cache
	roots   *x509.CertPool
	reports smtp.Reporter
}

// knowledge is what the configuration wants known and reported about TLS.
func (b *builder) knowledge() (k tlsKnowledge) {
	w := &b.shared.web
	w.use(b)
	cfg := view(b.config, "smtp")
	var err error
	if file := cfg.Str("sekisho_mta_sts"); file != "" {
		k.sts, err = b.policies(cfg, file)
		b.blame(cfg, "sekisho_mta_sts", err)
		k.roots, err = x509.SystemCertPool()
		b.blame(cfg, "sekisho_mta_sts", err)
	}
	switch file := cfg.Str("sekisho_tlsrpt"); {
	case file != "":
		c, err := b.collector(cfg, file)
		b.blame(cfg, "sekisho_tlsrpt", err)
		if c != nil {
			k.reports = c
		}
	case cfg.Bool("smtp_tlsrpt_enable"):
		path := cfg.Str("smtp_tlsrpt_socket_name")
		if !filepath.IsAbs(path) {
			path = filepath.Join(cfg.Str("queue_directory"), path)
		}
		k.reports = &tlsrpt.Socket{Path: path}
	}
	return k
}

// browser reads policies and uploads reports.
func browser() *http.Client {
	return &http.Client{Timeout: webTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
}

func (b *builder) policies(cfg *config.Config, file string) (*mtasts.Cache, error) {
	w := &b.shared.web
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.policies[file]; c != nil {
		return c, nil
	}
	c, err := mtasts.New(mtasts.Options{Query: w.ask, Fetch: mtasts.FromWeb(browser()), File: file, Clock: b.shared.clock,
		Log: b.log.With(maillog.Service(cfg.Str("syslog_name") + "/smtp"))})
	if err != nil {
		return nil, err
	}
	if w.policies == nil {
		w.policies = make(map[string]*mtasts.Cache)
	}
	w.policies[file] = c
	return c, nil
}

func (b *builder) collector(cfg *config.Config, file string) (*tlsrpt.Collector, error) {
	w := &b.shared.web
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.collectors[file]; c != nil {
		return c, nil
	}
	c, err := tlsrpt.NewCollector(tlsrpt.Options{
		Organization: cfg.Str("mydomain"), Contact: cfg.Str("sekisho_tlsrpt_contact"), File: file,
		Mail: w.mail, Post: tlsrpt.Upload(browser()), Spread: time.Hour, Clock: b.shared.clock,
		Log: b.log.With(maillog.Service(cfg.Str("syslog_name") + "/smtp")),
	})
	if err != nil {
		return nil, err
	}
	if w.collectors == nil {
		w.collectors = make(map[string]*tlsrpt.Collector)
	}
	w.collectors[file] = c
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	w.stop = append(w.stop, func() { cancel(); running.Wait() })
	return c, nil
}

// blame notes an error under the parameter that has caused it.
func (b *builder) blame(cfg *config.Config, param string, err error) {
	if err != nil {
		b.fail(fmt.Errorf("%s: %s: %w", cfg.Pos(param), param, err))
	}
}

// mailReport puts a letter with a report into the queue.
func (b *builder) mailReport(ctx context.Context, to string, r tlsrpt.Report) error {
	now := b.shared.clock.Now()
	env := mail.Envelope{Arrived: now, Sender: r.Contact, Recipients: []mail.Recipient{{Address: to}}}
	return b.post(ctx, env, func(id string, w io.Writer) error {
		_, err := io.WriteString(w, tlsrpt.Letter(to, r, id+"@"+b.config.Str("myhostname"), mail.Date(now)))
		return err
	})
}
