INSERT INTO domain (domain,description,transport,active) VALUES
 ('example.com','main','virtual',1),('example.net','second','virtual',1),
 ('example.org','catchall domain','virtual',1),('alias.example','alias domain','virtual',1),
 ('inactive.example','switched off','virtual',0);
INSERT INTO alias_domain (alias_domain,target_domain,active) VALUES ('alias.example','example.com',1);
INSERT INTO mailbox (username,password,name,maildir,local_part,domain,active) VALUES
 ('plain@example.com','plainpass','cleartext','example.com/plain/','plain','example.com',1),
 ('plain2@example.com','{PLAIN}plain2pass','{PLAIN} prefix','example.com/plain2/','plain2','example.com',1),
 ('md5@example.com','$1$saltsalt$cCPENxTVtU4kpnV2ngztX0','md5crypt: md5pass','example.com/md5/','md5','example.com',1),
 ('sha512@example.com','{SHA512-CRYPT}$6$saltsaltsalt$kIUBzR6BEK1NMBb64Y1ph3X6eZH2yhPzqUTFGdVKepwSUrB.1hIlzsJpTRWzEq1UPHQCdYEynsw1IJj0vor49.','sha512pass','example.com/sha512/','sha512','example.com',1),
 ('sha512raw@example.com','$6$saltsaltsalt$kIUBzR6BEK1NMBb64Y1ph3X6eZH2yhPzqUTFGdVKepwSUrB.1hIlzsJpTRWzEq1UPHQCdYEynsw1IJj0vor49.','sha512pass no prefix','example.com/sha512raw/','sha512raw','example.com',1),
 ('sha256@example.com','{SHA256-CRYPT}$5$saltsaltsalt$jv80qpnHLWvf0bld0qyMXuZTtsuEYTnP/7MQ6wB3D06','sha256pass','example.com/sha256/','sha256','example.com',1),
 ('bcrypt@example.com','{BLF-CRYPT}$2y$05$Gdl2VOBLL0mT5YALLwrTte37OCVCfFvdwfK..3zy.JD9KRkVmd0zu','bcryptpass','example.com/bcrypt/','bcrypt','example.com',1),
 ('bcryptraw@example.com','$2y$10$vuWUEFcNTngOHLOTcZRkAOkKYwrxFrHM.lDJwHeh1MKTgGCY74HA.','bcryptpass no prefix','example.com/bcryptraw/','bcryptraw','example.com',1),
 ('ssha@example.com','{SSHA}pVAddN491XBLRA9S/TV5ff5Z0qNnnxlY','sshapass','example.com/ssha/','ssha','example.com',1),
 ('ssha512@example.com','{SSHA512}aKiFBbqkxOIVE7nwkv9oX4R8gqlWf2v8WosbtYHjPT6xkaOJpWIdo/l9oTPud4flaq7gD6/mX08JRXbQjYgcAeO1Qi8=','sshapass','example.com/ssha512/','ssha512','example.com',1),
 ('argon@example.com','{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$u99poXyS5BNZnlYMwMcquQ$r20ZWq2VxfDu9L8RogEppnIXymw2ETgwVcjslOuolEY','argonpass','example.com/argon/','argon','example.com',1),
 ('inactive@example.com','plainpass','inactive','example.com/inactive/','inactive','example.com',0),
 ('space user@example.com','plainpass','quoted local part','example.com/space/','space user','example.com',1),
 ('user@example.net','netpass','second domain','example.net/user/','user','example.net',1),
 ('loadtest@example.net','loadpass','load','example.net/loadtest/','loadtest','example.net',1),
 ('rcpt-reject@example.com','x','','example.com/rr/','rcpt-reject','example.com',1),
 ('rcpt-discard@example.com','x','','example.com/rd/','rcpt-discard','example.com',1),
 ('rcpt-hold@example.com','x','','example.com/rh/','rcpt-hold','example.com',1),
 ('rcpt-4xx@example.com','x','','example.com/r4/','rcpt-4xx','example.com',1);
INSERT INTO alias (address,goto,domain,active) SELECT username,username,domain,1 FROM mailbox;
INSERT INTO alias (address,goto,domain,active) VALUES
 ('postmaster@example.com','plain@example.com','example.com',1),
 ('abuse@example.com','plain@example.com','example.com',1),
 ('team@example.com','plain@example.com,md5@example.com','example.com',1),
 ('ext@example.com','someone@remote.test','example.com',1),
 ('"quoted key"@example.com','md5@example.com','example.com',1),
 ('plain key@example.com','md5@example.com','example.com',1),
 ('blank@example.com','space user@example.com','example.com',1),
 ('blanks@example.com','plain@example.com sha512@example.com','example.com',1),
 ('off@example.com','plain@example.com','example.com',0),
 ('@example.org','user@example.net','example.org',1);
