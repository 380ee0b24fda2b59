"""The formula of each loss in LaTeX, as the reference page shows it; words for symbols that are its own.

Only commands that both GitHub and latex2mathml know: no environments, no `operatorname`, no line breaks.
"""

from __future__ import annotations

from collections.abc import Mapping

# What the symbols mean, for all formulas; the page of losses begins with it.
SYMBOLS = """\
In formulas `s` is the student's and `t` the teacher's side: logits `z_s` and `z_t` (`s` and `t` in the text),
embeddings `f_s` and `f_t` (`h` in the text), maps `F_s` and `F_t` between stages. `i` and `j` are samples of a batch
of `B`, `b` its images, `c` and `k` classes or channels, of which there are `C`, `p` positions of a map of `H` by
`W`, `l` pairs of maps, shallow to deep, `D` widths of embeddings, `y` labels, `T` or `tau` temperatures; a letter of
one loss alone is named below its formula or in the table of its parameters. `c(.)`, `g(.)` and `r(.)` are
connectors, projectors and regressors, which train with the student. `[x]` is 1 where x is true and 0 elsewhere, MSE
the mean of the squared differences of all entries, KL the Kullback-Leibler divergence, BCE the binary cross-entropy,
Huber quadratic up to 1; `epsilon`, where no parameter is called so, is a small constant. No loss sends a gradient to
the teacher."""

FORMULAS: Mapping[str, tuple[str, ...]] = {
    "ce": (
        r"\mathcal{L} = -\frac{1}{B} \sum_i \sum_c q_{ic} \,\log\, \text{softmax}(z_{s,i})_c,"
        r" \quad q_{ic} = (1 - e) \, [c = y_i] + \frac{e}{C}",
        r"\mathcal{L}_{\text{mixed}} = \frac{1}{B} \sum_i \left( l_i \, \mathcal{L}_i(y_i)"
        r" + (1 - l_i) \, \mathcal{L}_i(y'_i) \right)",
    ),
    "tf_kd": (
        r"\mathcal{L} = \frac{1}{B} \sum_i \text{KL}(\text{softmax}(d_i / T) \,\|\, \text{softmax}(z_{s,i}))",
        r"d_{ic} = a \, [c = y_i] + \frac{1 - a}{C - 1} \, [c \ne y_i]",
    ),
    "kd": (
        r"\mathcal{L} = \frac{T^2}{B} \sum_i \text{KL}(\text{softmax}(z_{t,i} / T) \,\|\, \text{softmax}(z_{s,i} / T))",
    ),
    "logit_mse": (r"\mathcal{L} = \frac{1}{B C} \sum_{i,c} (z_{s,ic} - z_{t,ic})^2",),
    "dkd": (
        r"\mathcal{L}_{\text{target}} = \alpha \, \frac{T^2}{B} \sum_i \text{KL}(b_{t,i} \,\|\, b_{s,i}),"
        r" \quad b_i = (p_i(y_i), \, 1 - p_i(y_i)), \quad p = \text{softmax}(z / T)",
        r"\mathcal{L}_{\text{non-target}} = \beta \, \frac{T^2}{B} \sum_i \text{KL}(q_{t,i} \,\|\, q_{s,i}),"
        r" \quad q_i = \text{softmax}_{c \ne y_i}(z_{ic} / T)",
    ),
    "rld": (
        r"\mathcal{L}_{\text{confidence}} = \alpha \, \frac{T^2}{B} \sum_i"
        r" \text{KL}(b(\max_c \, p_{t,i}(c)) \,\|\, b(p_{s,i}(y_i))),"
        r" \quad b(x) = (x, \, 1 - x), \quad p = \text{softmax}(z / T)",
        r"\mathcal{L}_{\text{correlation}} = \beta \, \frac{T^2}{B} \sum_i \text{KL}(q_{t,i} \,\|\, q_{s,i}),"
        r" \quad q_i = \text{softmax}_{c \,:\, z_{t,i}(c) < z_{t,i}(y_i)}(z_i(c) / T)",
    ),
    "ttm": (
        r"\mathcal{L} = \frac{1}{B} \sum_i U_i \, \text{KL}(q_i \,\|\, \text{softmax}(z_{s,i})),"
        r" \quad q_{ic} = \frac{p_{ic}^{\gamma}}{\sum_k p_{ik}^{\gamma}}, \quad p = \text{softmax}(z_t)",
        r"U_i = 1 \quad \text{or, weighted,} \quad U_i = \sum_c p_{ic}^{\gamma}",
    ),
    "dist": (
        r"\mathcal{L}_{\text{inter}} = \beta \, \tau^2 \left( 1 - \frac{1}{B} \sum_i \rho(P_{s,i}, P_{t,i}) \right),"
        r" \quad P = \text{softmax}(z / \tau)",
        r"\mathcal{L}_{\text{intra}} = \gamma \, \tau^2 \left( 1 - \frac{1}{C} \sum_c"
        r" \rho((P_s^{\top})_c, (P_t^{\top})_c) \right)",
    ),
    "nkd": (
        r"\mathcal{L}_{\text{target}} = -\frac{1}{B} \sum_i p_{t,i}(y_i) \,\log\, p_{s,i}(y_i),"
        r" \quad p = \text{softmax}(z)",
        r"\mathcal{L}_{\text{non-target}} = -\gamma \, \frac{T^2}{B} \sum_i \sum_{c \ne y_i} q_{t,ic} \,\log\, q_{s,ic}"
        r", \quad q_i = \text{softmax}_{c \ne y_i}(z_{ic} / T)",
    ),
    "wsld": (
        r"\mathcal{L} = \frac{T^2}{B} \sum_i w_i \, H(\text{softmax}(z_{t,i} / T), \text{softmax}(z_{s,i} / T))",
        r"w_i = 1 - \exp\left( -\frac{\text{CE}(z_{s,i}, y_i)}{\text{CE}(z_{t,i}, y_i) + \epsilon} \right)",
    ),
    "mlkd": (
        r"\mathcal{L}_{\text{instance}} = \sum_T \frac{T^2}{B} \sum_i \text{KL}(P_{t,i} \,\|\, P_{s,i}),"
        r" \quad P = \text{softmax}(z / T)",
        r"\mathcal{L}_{\text{batch}} = \frac{1}{B} \sum_T"
        r" \left\lVert P_s P_s^{\top} - P_t P_t^{\top} \right\rVert_F^2",
        r"\mathcal{L}_{\text{class}} = \frac{1}{C} \sum_T"
        r" \left\lVert P_s^{\top} P_s - P_t^{\top} P_t \right\rVert_F^2",
    ),
    "ctkd": (
        r"\mathcal{L} = \frac{T^2}{B} \sum_i \text{KL}(\text{softmax}(z_{t,i} / T) \,\|\, \text{softmax}(z_{s,i} / T)),"
        r" \quad T = t_{\text{min}} + t_{\text{range}} \, \text{sigmoid}(\theta)",
    ),
    "wkd_logits": (
        r"\mathcal{L}_{\text{target}} = -\frac{1}{B} \sum_i p_{t,i}(y_i) \,\log\, p_{s,i}(y_i),"
        r" \quad p = \text{softmax}(z)",
        r"\mathcal{L}_{\text{transport}} = \frac{\gamma}{B} \sum_i \sum_{k,l \ne y_i} P_{i,kl} \, c_{kl},"
        r" \quad c_{kl} = 1 - \exp(-\kappa \, \max(1 - \cos(w_k, w_l), 0)) + 10^{-8}",
        r"P_i \approx \text{argmin}_P \sum_{k,l} P_{kl} \, (c_{kl} + \epsilon \,\log\, P_{kl}),"
        r" \quad \sum_l P_{kl} = q_{s,ik}, \quad \sum_k P_{kl} = q_{t,il},"
        r" \quad q_i = \text{softmax}_{k \ne y_i}(z_{ik} / T)",
    ),
    "vrm": (
        r"\mathcal{L}_{\text{samples}} = \frac{\alpha}{N} \sum_{(i,j)} \frac{1}{C} \sum_c"
        r" \text{Huber}(E_{s,ijc} - E_{t,ijc}),"
        r" \quad E_{ij} = \frac{z_i - z'_j}{\left\lVert z_i - z'_j \right\rVert}",
        r"\mathcal{L}_{\text{classes}} = \frac{\beta}{C^2} \sum_{c,k} \frac{1}{B} \sum_i"
        r" \text{Huber}(G_{s,cki} - G_{t,cki}), \quad"
        r" G_{ck} = \frac{(z^{\top})_c - (z'^{\top})_k}{\left\lVert (z^{\top})_c - (z'^{\top})_k \right\rVert}",
    ),
    "tf_kd_self": (
        r"\mathcal{L} = \frac{T^2}{B} \sum_i \text{KL}(\text{softmax}(z_{t,i} / T) \,\|\, \text{softmax}(z_{s,i} / T))",
    ),
    "deit": (
        r"\mathcal{L}_{\text{hard}} = -\frac{1}{B} \sum_i \,\log\, \text{softmax}(z_{d,i})_{c_i},"
        r" \quad c_i = \text{argmax}_c \, z_{t,ic}",
        r"\mathcal{L}_{\text{soft}} = \frac{\tau^2}{B} \sum_i"
        r" \text{KL}(\text{softmax}(z_{t,i} / \tau) \,\|\, \text{softmax}(z_{d,i} / \tau))",
    ),
    "align_uniform": (
        r"\mathcal{L}_{\text{align}} = \frac{1}{B} \sum_i \left\lVert u_{s,i} - u_{t,i} \right\rVert^{\alpha},"
        r" \quad u = \frac{g(f)}{\left\lVert g(f) \right\rVert}",
        r"\mathcal{L}_{\text{uniform}} = \frac{U(u_s) + U(u_t)}{2}, \quad U(u) = \log\left("
        r" \frac{2}{B (B - 1)} \sum_{i < j} \exp(-t \left\lVert u_i - u_j \right\rVert^2) \right)",
    ),
    "crd": (
        r"\mathcal{L}_{\text{student}} = -\frac{1}{B} \sum_i \left( \log \frac{P_{i0}}{P_{i0} + K / N + \epsilon}"
        r" + \sum_{k=1}^{K} \log \frac{K / N}{P_{ik} + K / N + \epsilon} \right)",
        r"P_{ik} = \frac{1}{Z} \exp(\langle u_{s,i}, m_{t,ik} \rangle / \tau),"
        r" \quad u = \frac{g(f)}{\left\lVert g(f) \right\rVert}",
    ),
    "srrl": (
        r"\mathcal{L}_{\text{feature}} = \text{MSE}(c(f_s), f_t)",
        r"\mathcal{L}_{\text{softmax-regression}} = \text{MSE}(W_t(c(f_s)), z_t)",
    ),
    "embedding_mse": (r"\mathcal{L} = \frac{1}{B D_t} \sum_{i,j} (c(f_s)_{ij} - f_{t,ij})^2",),
    "embedding_cosine": (r"\mathcal{L} = 1 - \frac{1}{B} \sum_i \cos(c(f_s)_i, f_{t,i})",),
    "pkt": (
        r"\mathcal{L} = \frac{1}{B^2} \sum_{i,j} p_{t,ij} \,\log \frac{p_{t,ij} + \epsilon}{p_{s,ij} + \epsilon}",
        r"p_{ij} = \frac{K_{ij}}{\sum_k K_{ik}}, \quad K_{ij} = \frac{\cos(f_i, f_j) + 1}{2}",
    ),
    "rkd": (
        r"\mathcal{L}_{\text{distance}} = \frac{w_{\text{distance}}}{B^2} \sum_{i,j} \text{Huber}(d_{s,ij} - d_{t,ij}),"
        r" \quad d_{ij} = \frac{1}{\mu} \left\lVert f_i - f_j \right\rVert",
        r"\mathcal{L}_{\text{angle}} = \frac{w_{\text{angle}}}{B^3} \sum_{i,j,k} \text{Huber}(a_{s,jik} - a_{t,jik}),"
        r" \quad a_{jik} = \langle e_{ji}, e_{jk} \rangle,"
        r" \quad e_{ji} = \frac{f_i - f_j}{\left\lVert f_i - f_j \right\rVert}",
    ),
    "cc": (
        r"\mathcal{L}_{\text{kernel}} = \frac{1}{B^2} \sum_{i,j} (C_{s,ij} - C_{t,ij})^2,"
        r" \quad C_{ij} = e^{-2 \gamma} \sum_{p=0}^{P} \frac{(2 \gamma)^p}{p!} \cos(f_i, f_j)^p",
        r"\mathcal{L}_{\text{neighbours}} = \frac{1}{B - 1} \sum_{i=1}^{B - 1} \langle d_i, d_{i+1} \rangle,"
        r" \quad d_i = \left\lvert g(f_s)_i - g(f_t)_i \right\rvert",
    ),
    "sp": (
        r"\mathcal{L} = \frac{1}{B^2} \left\lVert G_s - G_t \right\rVert_F^2,"
        r" \quad G_i = \frac{(f f^{\top})_i}{\left\lVert (f f^{\top})_i \right\rVert}",
    ),
    "vid": (
        r"\mathcal{L} = \frac{1}{B D_t} \sum_{i,j} \frac{1}{2}"
        r" \left( \frac{(f_{t,ij} - \mu_{ij})^2}{v_j} + \log\, v_j \right)",
        r"\mu = A f_s + b, \quad v = \text{softplus}(\rho) + \epsilon",
    ),
    "info_nce": (
        r"\mathcal{L} = -\frac{1}{B} \sum_i \log \frac{\exp(\langle u_{s,i}, u_{t,i} \rangle / T)}"
        r"{\sum_j \exp(\langle u_{s,i}, u_{t,j} \rangle / T)},"
        r" \quad u = \frac{g(f)}{\left\lVert g(f) \right\rVert}",
    ),
    "simkd": (r"\mathcal{L} = \frac{1}{B D_t} \sum_{i,j} (g(f_s)_{ij} - f_{t,ij})^2, \quad z_s = W_t(g(f_s))",),
    "seed": (
        r"\mathcal{L} = -\frac{1}{B} \sum_i \sum_{j=0}^{K} p_{t,ij} \,\log\, p_{s,ij},"
        r" \quad p_i = \text{softmax}_j(\langle u_i, d_{ij} \rangle / \tau)",
        r"u_s = \frac{g(f_s)}{\left\lVert g(f_s) \right\rVert}, \quad u_t = \frac{f_t}{\left\lVert f_t \right\rVert},"
        r" \quad d_{i0} = u_{t,i}",
    ),
    "wcord": (
        r"\mathcal{L}_{\text{local}} = w_{\text{local}} \sum_{i,j} P_{ij} \, C_{ij},"
        r" \quad C_{ij} = 1 - \langle u_{s,i}, u_{t,j} \rangle,"
        r" \quad P \approx \text{argmin}_P \sum_{i,j} P_{ij} \, (C_{ij} + \epsilon \,\log\, P_{ij})",
        r"\mathcal{L}_{\text{global}} = w_{\text{global}} \left( \frac{1}{B (B - 1)} \sum_{i \ne j} v_{ij}"
        r" - \frac{1}{B} \sum_i v_{ii} \right),"
        r" \quad v_{ij} = \frac{\langle U u_{s,i}, V u_{t,j} \rangle}{\sqrt{2}}",
    ),
    "srd": (
        r"\mathcal{L} = \log\left( \sum_{i,j} \left\lvert \text{BN}(A f_s + b)_{ij} - \text{BN}(f_t)_{ij}"
        r" \right\rvert^{\alpha} + \epsilon \right)",
    ),
    "vkd": (
        r"\mathcal{L} = \frac{1}{B D_t} \sum_{i,j} \text{Huber}\left( (f_s P^{\top})_{ij}"
        r" - \frac{f_{t,ij} - \text{mean}_i}{\sqrt{\text{var}_i + \epsilon}} \right), \quad P^{\top} P = I",
        r"P = R^2 P_0, \quad R = (I - S / 4)^{-1} (I + S / 4), \quad S = G - G^{\top}",
    ),
    "fitnets": (r"\mathcal{L} = \frac{1}{B C H W} \sum_{b,c,p} (r(F_s)_{bcp} - F_{t,bcp})^2",),
    "at": (
        r"\mathcal{L} = \sum_l \frac{1}{B H_l W_l} \sum_b \left\lVert"
        r" \frac{Q_{s,lb}}{\left\lVert Q_{s,lb} \right\rVert} - \frac{Q_{t,lb}}{\left\lVert Q_{t,lb} \right\rVert}"
        r" \right\rVert^2, \quad Q_{lb} = \frac{1}{C} \sum_c \left\lvert F_{lbc} \right\rvert^p",
    ),
    "nst": (
        r"\mathcal{L} = \sum_l \frac{1}{B} \sum_b \left( \frac{1}{C_t^2} \sum_{c,k} \kappa(t_c, t_k)"
        r" + \frac{1}{C_s^2} \sum_{c,k} \kappa(s_c, s_k) - \frac{2}{C_s C_t} \sum_{c,k} \kappa(s_c, t_k) \right)",
        r"s_c = \frac{F_{s,lbc}}{\left\lVert F_{s,lbc} \right\rVert},"
        r" \quad t_c = \frac{F_{t,lbc}}{\left\lVert F_{t,lbc} \right\rVert},"
        r" \quad \kappa(x, y) = \langle x, y \rangle^2",
    ),
    "fsp": (
        r"\mathcal{L} = \sum_l \frac{1}{B C_{t,l} C_{t,l+1}} \sum_b"
        r" \left\lVert P_l \, G_{s,lb} \, P_{l+1}^{\top} - G_{t,lb} \right\rVert_F^2,"
        r" \quad G_{lb} = \frac{1}{H W} \sum_p F_{lbp} F_{l+1,bp}^{\top}",
    ),
    "ab": (
        r"\mathcal{L} = \frac{3}{1000} \sum_{l=0}^{n - 1} 2^{l - n + 1} \, \frac{1}{B} \sum_{b,c,p}"
        r" \max(0, \, m - \sigma_{lbcp} \, c(F_{s,l})_{bcp})^2, \quad \sigma = 2 \, [F_t > 0] - 1",
    ),
    "ft": (
        r"\mathcal{L} = \frac{1}{B N} \sum_b \left\lVert"
        r" \frac{\phi_{s,b}}{\left\lVert \phi_{s,b} \right\rVert}"
        r" - \frac{\phi_{t,b}}{\left\lVert \phi_{t,b} \right\rVert} \right\rVert_1,"
        r" \quad \phi_s = \text{translator}(F_s), \quad \phi_t = \text{encoder}(F_t)",
        r"\mathcal{L}_{\text{first stage}} = \text{MSE}(\text{decoder}(\phi_t), F_t)",
    ),
    "ofd": (
        r"\mathcal{L} = \sum_{l=1}^{L} 2^{l - L} \, \frac{1}{B} \sum_{b,c,p}"
        r" d(\max(F_{t,lbcp}, m_{lc}), c(F_{s,l})_{bcp})",
        r"d(t, s) = (t - s)^2 \, [s > t \text{ or } t > 0]",
    ),
    "review": (
        r"\mathcal{L} = w \sum_l \text{HCL}(\hat{F}_{s,l}, F_{t,l}), \quad"
        r" \text{HCL}(a, b) = \frac{\sum_k 2^{-k} \, \text{MSE}(p_k(a), p_k(b))}{\sum_k 2^{-k}},"
        r" \quad w = \min(e / e_{\text{warmup}}, 1)",
        r"\hat{F}_{s,l} = \text{conv}(x_l), \quad x_l = a_1 \, \text{conv}(F_{s,l}) + a_2 \, x_{l+1},"
        r" \quad a = \text{sigmoid}(\text{conv}(\text{conv}(F_{s,l}), x_{l+1}))",
    ),
    "semckd": (
        r"\mathcal{L} = \frac{1}{B S} \sum_{b,l,m} \alpha_{blm} \, \text{MSE}(r_{lm}(F_{s,lb}), F_{t,mb}),"
        r" \quad \alpha_{blm} = \text{softmax}_m(\langle q_{bl}, k_{bm} \rangle)",
    ),
    "catkd": (
        r"\mathcal{L} = \frac{1}{B C P} \sum_{b,c} \left\lVert \frac{A_{s,bc}}{\left\lVert A_{s,bc} \right\rVert}"
        r" - \frac{A_{t,bc}}{\left\lVert A_{t,bc} \right\rVert} \right\rVert^2,"
        r" \quad A_{bcp} = \langle w_c, F_{bp} \rangle",
    ),
    "mgd": (
        r"\mathcal{L} = \frac{\alpha}{B} \sum_{b,c,p} (G_{bcp} - F_{t,bcp})^2,"
        r" \quad G = \text{conv}(\text{ReLU}(\text{conv}(M \odot c(F_s))))",
    ),
    "ickd": (
        r"\mathcal{L} = \frac{1}{B C} \sum_b \left\lVert G_{s,b} - G_{t,b} \right\rVert_F^2,"
        r" \quad G_{bc} = \frac{(F_b F_b^{\top})_c}{\left\lVert (F_b F_b^{\top})_c \right\rVert}",
    ),
    "ofa": (
        r"\mathcal{L}_{\text{logits}} = E(z_s), \quad \mathcal{L}_{\text{branches}} = \sum_l E(z_l)",
        r"E(z) = -\frac{1}{B} \sum_i \sum_c \left( (p_{t,ic} + [c = y_i])^{\gamma} - [c = y_i] \right)"
        r" \,\log\, \text{softmax}(z_i / T)_c, \quad p_t = \text{softmax}(z_t / T)",
    ),
    "sdd": (
        r"\mathcal{L} = \frac{1}{B R} \sum_{i,r} w_{ir} \, d(z_{s,ir}, z_{t,ir}, y_i), \quad"
        r" w_{ir} = 1 + [h_{ir} \ne h_{i0}], \quad h_{ir} = [\text{argmax}_c \, z_{t,irc} = y_i]",
    ),
    "wkd_features": (
        r"\mathcal{L}_{\text{mean}} = \frac{\gamma}{B G} \sum_{b,c,g} (\mu_{s,bcg} - \mu_{t,bcg})^2",
        r"\mathcal{L}_{\text{deviation}} = \frac{1}{B G} \sum_{b,c,g} (\sigma_{s,bcg} - \sigma_{t,bcg})^2",
    ),
    "norm": (r"\mathcal{L} = \sum_{n=1}^{N} \frac{1}{B C H W} \sum_{b,c,p} ((E F_s)_{n,bcp} - F_{t,bcp})^2",),
    "kdsvd": (
        r"\mathcal{L} = \frac{1}{B} \sum_{l \ge 2} \sum_{b,x,y,k} (K_{s,lbxyk} - K_{t,lbxyk})^2,"
        r" \quad K_{lbxyk} = \exp\left( -\frac{(v_{lbxk} - v_{l - 1,byk})^2}{8} \right)",
    ),
    "vitkd": (
        r"\mathcal{L}_{\text{imitation}} = \frac{\alpha}{B} \sum_{l=1}^{2} \sum_{b,c,p}"
        r" (c(F_{s,l})_{bcp} - F_{t,lbcp})^2",
        r"\mathcal{L}_{\text{generation}} = \frac{\beta}{\lambda B} \sum_{b,c,p} M_{bp} \, (G_{bcp} - F_{t,bcp})^2,"
        r" \quad G = \text{conv}(\text{ReLU}(\text{conv}((1 - M) \odot c(F_s) + M \odot m)))",
    ),
    "diffkd": (
        r"\mathcal{L}_{\text{diffkd}} = \text{MSE}(r(x_{\text{last}}), \phi), \quad \phi = \text{encoder}(F_t),"
        r" \quad x_{\text{first}} = a \, c(F_s) + (1 - a) \, n",
        r"x_{\tau - 100} = \sqrt{\bar{\alpha}_{\tau - 100}} \, \frac{x_{\tau} - \sqrt{1 - \bar{\alpha}_{\tau}} \, e}"
        r"{\sqrt{\bar{\alpha}_{\tau}}} + \sqrt{1 - \bar{\alpha}_{\tau - 100}} \, e, \quad e = d(x_{\tau}, \tau)",
        r"\mathcal{L}_{\text{diffusion}} = \text{MSE}(d(\sqrt{\bar{\alpha}_{\tau}} \, \phi"
        r" + \sqrt{1 - \bar{\alpha}_{\tau}} \, n, \tau), n),"
        r" \quad \mathcal{L}_{\text{reconstruction}} = \text{MSE}(\text{decoder}(\phi), F_t)",
    ),
    "fcfd": (
        r"\mathcal{L}_{\text{features}} = \alpha \, w \sum_{(F,l)} \text{gap}(F, F_{t,l}),"
        r" \quad w = \min(e / e_{\text{warmup}}, 1)",
        r"\mathcal{L}_{\text{logits}} = \sum_{\text{paths}} \frac{T^2}{B} \sum_i"
        r" \text{KL}(\text{softmax}(z_{t,i} / T) \,\|\, \text{softmax}(z_{\text{path},i} / T))",
    ),
    "cwd": (
        r"\mathcal{L} = \frac{T^2}{B C} \sum_{b,c}"
        r" \text{KL}(\text{softmax}_p(F_{t,bcp} / T) \,\|\, \text{softmax}_p(F_{s,bcp} / T))",
    ),
    "pkd": (
        r"\mathcal{L} = \sum_l \frac{1}{2 B C H W} \sum_{b,c,p} (x_{s,bcp} - x_{t,bcp})^2,"
        r" \quad x_{bcp} = \frac{F_{lbcp} - \text{mean}_c}{\text{std}_c + \epsilon}",
    ),
    "skd_pairwise": (
        r"\mathcal{L} = \frac{1}{B N^2} \sum_{b,i,j} (a_{s,bij} - a_{t,bij})^2, \quad a_{bij} = \cos(v_{bi}, v_{bj})",
    ),
    "ifvd": (r"\mathcal{L} = \frac{1}{n} \sum_p \left( \cos(F_{s,p}, \mu_{s,p}) - \cos(F_{t,p}, \mu_{t,p}) \right)^2",),
    "cirkd": (
        r"\mathcal{L} = \frac{1}{B^2 N} \sum_{b,d,i} \text{KL}(\text{softmax}_j(\langle v_{t,bi}, v_{t,dj} \rangle / T)"
        r" \,\|\, \text{softmax}_j(\langle v_{s,bi}, v_{s,dj} \rangle / T))",
    ),
    "fgd": (
        r"\mathcal{L}_{\text{foreground}} = \frac{\alpha}{B} \sum_{b,c,p} M_{bp} \, A_{t,bp} \, A_{t,bc}"
        r" \, (F_{t,bcp} - F_{s,bcp})^2",
        r"\mathcal{L}_{\text{background}} = \frac{\beta}{B} \sum_{b,c,p} N_{bp} \, A_{t,bp} \, A_{t,bc}"
        r" \, (F_{t,bcp} - F_{s,bcp})^2",
        r"\mathcal{L}_{\text{attention}} = \frac{\gamma}{B} \left( \sum_{b,p}"
        r" \left\lvert A_{t,bp} - A_{s,bp} \right\rvert"
        r" + \sum_{b,c} \left\lvert A_{t,bc} - A_{s,bc} \right\rvert \right)",
        r"\mathcal{L}_{\text{relation}} = \frac{\lambda}{B} \sum_{b,c,p} (R_t(F_t)_{bcp} - R_s(F_s)_{bcp})^2,"
        r" \quad R(F) = F + W_2 \, \text{ReLU}(\text{LN}(W_1 \sum_p a_p F_p)), \quad a = \text{softmax}_p(W_k F_p)",
        r"A_{bp} = H W \, \text{softmax}_p\left( \frac{1}{C T} \sum_c \left\lvert F_{bcp} \right\rvert \right),"
        r" \quad A_{bc} = C \, \text{softmax}_c\left( \frac{1}{H W T} \sum_p \left\lvert F_{bcp} \right\rvert \right)",
    ),
    "head_kd": (
        r"\mathcal{L}_{\text{classes}} = \frac{T^2}{N} \sum_{a,c} \left\lvert p_{t,ac} - p_{s,ac} \right\rvert^g"
        r" \, \text{BCE}(p_{s,ac}, p_{t,ac}), \quad p = \text{sigmoid}(z / T)",
        r"\mathcal{L}_{\text{boxes}} = \frac{w_{\text{giou}}}{N} \sum_a w_a \, (1 - \text{GIoU}(b_{s,a}, b_{t,a})),"
        r" \quad \mathcal{L}_{\text{centerness}} = \frac{w_{\text{centerness}}}{N} \sum_a w_a"
        r" \, \text{BCE}(o_{s,a}, o_{t,a})",
        r"N = \max(1, \sum_a w_a), \quad w_a = \max_c \, \text{sigmoid}(z_{t,ac})",
    ),
}

# Words for letters that stand in one formula alone, and what it leaves out.
WORDS: Mapping[str, str] = {
    "ce": "`y'` is the label of the image that is mixed in, and `l` the own image's share.",
    "dkd": "`y` is the target; the softmax of `q` leaves it out.",
    "rld": "The softmax of `q` is over the classes that the teacher puts below the label.",
    "dist": "`rho` is Pearson's correlation.",
    "wsld": "`H` is the cross-entropy of two distributions, `CE` that with the label at temperature 1.",
    "mlkd": "The sums are over `temperatures`; the raised sign is that of the transpose.",
    "ctkd": "`theta` is trained to raise the loss that the student lowers.",
    "wkd_logits": "`w` are the rows of the teacher's classifier; Sinkhorn's iterations give the plan `P`, "
    "which the gradient passes.",
    "vrm": "`z` are logits of the first view and `z'` of the second; `N` pairs of images are kept. Where two "
    "coincide, `E` or `G` is 0.",
    "tf_kd_self": "The teacher is an earlier self of the student.",
    "deit": "`z_d` are the student's logits on the distillation token.",
    "crd": "`m_t` are rows of the teacher's memory bank, the first of them the image's own, and `N` is its size; the "
    "term `crd_teacher` is the same with both sides exchanged.",
    "srrl": "`W_t` is the teacher's classifier.",
    "embedding_cosine": "A zero vector has cosine 0 with anything.",
    "rkd": "`mu` is the mean distance of the pairs that are apart; where two samples coincide, `e` is 0.",
    "cc": "`form` says which of the two is taken.",
    "vid": "The constant log(2 pi) / 2 is left out.",
    "sp": "`f` has a row for each image of the batch.",
    "info_nce": "The other images of the batch are the negatives.",
    "simkd": "`g` is the projector in the student's classifier, and `W_t` the teacher's classifier behind it.",
    "seed": "`d` are the image's own teacher embedding and the `K` rows of the queue, and each side has its own `tau`.",
    "wcord": "Rows and columns of the plan `P` have the sum 1/B; it is a constant to the gradient. The student's "
    "`u` is `g(f)` at unit length, with one affine map `g`, the teacher's is `f` itself: two projectors could bring "
    "the cost to 0 by mapping everything to one point.",
    "srd": "BN is batch normalisation without scale and shift.",
    "vkd": "Mean and variance are those of one embedding. Of a teacher that is narrower than the student it is the "
    "transpose of `P`.",
    "at": "`Q` is averaged down where the sides differ in size.",
    "nst": "`s` and `t` are single channels of an image's map.",
    "fsp": "`P` widens the student's channels to the teacher's, and is the identity where they agree; the larger of "
    "two maps is averaged down to the other's size.",
    "ab": "`m` is the margin, and `n` the number of pairs.",
    "ft": "`N` is the number of entries of a factor.",
    "ofd": "`m` is the margin of each channel, at most 0, and `L` the number of pairs.",
    "review": "`p_k` averages a map to one of its resolutions, its own first; `e` is the epoch. The deepest level has "
    "no deeper `x`.",
    "semckd": "`l` are the `S` maps of the student and `m` all of the teacher; `q` and `k` are queries and keys.",
    "catkd": "`w` are the rows of each side's classifier, `F` is pooled to `P` positions.",
    "mgd": "`M` is a random mask of 0 and 1.",
    "ickd": "The student's map is behind a connector.",
    "ofa": "`z_l` are the logits of the branch at depth `l`.",
    "sdd": "Cell 0 is the whole image, `R` their number with it, and `d` the loss `base` of one cell's logits.",
    "wkd_features": "`mu` and `sigma` are mean and deviation of a channel in one of `G` cells, of the student's map "
    "behind a connector.",
    "norm": "`E` expands the student's map to `N` groups of the teacher's channels.",
    "kdsvd": "`v` are the right singular vectors of a map at columns `x` (of the map before: `y`), times the teacher's "
    "singular values at unit norm; all of it is in float64.",
    "vitkd": "`M` masks tokens of the last map, and `m` is the token that stands in for them.",
    "diffkd": "`a` is the share that a small network gives each image, `n` noise, `d` the denoiser, `tau` a step of "
    "the diffusion, and `alpha-bar` the share of the signal there, 1 at last.",
    "fcfd": "`F` are the maps that are compared at depth `l`, and `e` is the epoch.",
    "skd_pairwise": "`v` are the `N` nodes of an image.",
    "ifvd": "`mu` is the mean of the position's class in its image, and `n` the number of positions with a class.",
    "cirkd": "`v` are `N` positions of each image at unit length.",
    "fgd": "`M` and `N` scale the positions in boxes and in the background; each term is summed over the levels. "
    "`R_s` and `R_t` train with the student.",
    "head_kd": "`a` are points, `b` boxes, `o` logits of centreness, and `g` the parameter `power`.",
}
