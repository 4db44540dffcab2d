mkdir d; seq 1000 > d/a; ln -s a d/l; ln d/a d/h; tar cf t.tar d; tar czf t.tgz d; tar cJf t.txz d
for f in t.tar t.tgz t.txz; do mkdir "o.$f"; tar xf "$f" -C "o.$f" --same-permissions; diff -r d "o.$f/d"; done; xz -T2 -k t.tar; gzip -k t.tar
