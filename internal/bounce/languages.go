package bounce

// languages are the built-in texts: of failures, delays and successes. Those in
// English are Postfix's own.
var languages = map[string][3]template{
	"en": {
		{subject: "Undelivered Mail Returned to Sender", postmaster: "Postmaster Copy: Undelivered Mail", text: failureEN},
		{subject: "Delayed Mail (still being retried)", postmaster: "Postmaster Warning: Delayed Mail", text: delayEN},
		{subject: "Successful Mail Delivery Report", text: successEN},
	},
	"ja": {
		{charset: "utf-8", subject: "配信できなかったメールをお返しします", postmaster: "管理者控え: 配信できなかったメール", text: failureJA},
		{charset: "utf-8", subject: "メールの配信が遅れています (再送を続けています)", postmaster: "管理者への警告: 遅れているメール", text: delayJA},
		{charset: "utf-8", subject: "メールを配信しました", text: successJA},
	},
}

const failureEN = `This is the mail system at host $myhostname.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
`

const delayEN = `This is the mail system at host $myhostname.

####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than $delay_warning_time_hours hour(s).
It will be retried until it is $maximal_queue_lifetime_days day(s) old.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
`

const successEN = `This is the mail system at host $myhostname.

Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
`

const failureJA = `ホスト $myhostname のメールシステムからのお知らせです。

申し訳ありませんが、お送りになったメールを次の宛先に配信できません
でした。元のメールをこのお知らせに添付してお返しします。

お困りの場合は postmaster 宛にメールでお問い合わせください。
その際は、このお知らせを添えてください。添付された元のメールの
本文は削除していただいてかまいません。

                   メールシステム
`

const delayJA = `ホスト $myhostname のメールシステムからのお知らせです。

####################################################################
#    これは警告です。メールを送り直していただく必要はありません。    #
####################################################################

お送りになったメールは $delay_warning_time_hours 時間以上たってもまだ配信できていません。
送信から $maximal_queue_lifetime_days 日が過ぎるまで、再送を続けます。

お困りの場合は postmaster 宛にメールでお問い合わせください。
その際は、このお知らせを添えてください。添付された元のメールの
本文は削除していただいてかまいません。

                   メールシステム
`

const successJA = `ホスト $myhostname のメールシステムからのお知らせです。

お送りになったメールを次の宛先に配信しました。メールボックスに
届いた場合、これ以上のお知らせはありません。ほかのシステムに
渡された場合は、そのシステムから配信の失敗のお知らせが届くことが
あります。

                   メールシステム
`
