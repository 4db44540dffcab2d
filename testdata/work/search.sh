mkdir s; for i in $(seq 200); do echo "line $i needle$i" > "s/$i.txt"; done
[ "$(rg -c 'needle1[0-9]{2}' s | wc -l)" = 100 ]; rg --files s | wc -l; rg -j4 --mmap needle7 s > hits; echo '{"a":[1,2]}' | jq -e '.a[1] == 2'
