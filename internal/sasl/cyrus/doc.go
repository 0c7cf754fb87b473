// Package cyrus checks passwords as Postfix does with Cyrus SASL
// (smtpd_sasl_type = cyrus): it reads the application's file, smtpd.conf, asks
// the methods of pwcheck_method in their order, and answers in Cyrus's words.
// The method auxprop is here, with the plug-in sql for MySQL, PostgreSQL and
// SQLite; others are given to New as a Method.
//
// Unlike Cyrus it takes stored passwords in every form of package password,
// and a stored hash never for the password itself.
//
// It does not speak SMTP and filters no mechanisms; see package sasl.
// Cyrus SASL's options.html and sysadmin.html, RFC 4616 (PLAIN), RFC 2195
// (CRAM-MD5), RFC 2831 (DIGEST-MD5), RFC 5802 and RFC 7677 (SCRAM).
package cyrus
